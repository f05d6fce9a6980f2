"""A run of every stage that takes a second, and what tests do with its folder."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terminal import Command, Done, Terminal

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.hashing import checksum

TINY = """\
[data.generate]
trajectories = 10
points = 32
frames = 6
t_end = 0.2
[latent]
dim = 4
[training]
batch_size = 8
"""
"""Settings of the working folder, over `--preset smoke`: 4 steps an epoch, 5 or 10 in a stage."""
TRAIN = ("train", "--headless", "--preset", "smoke")
TRAINED = ("autoencoder", "operator", "diff_residual", "consistency_distill", "steady_prior")
STAGES = (*TRAINED, "evaluation")


@dataclass(frozen=True)
class TinyRun:
    """A run in a working folder of its own."""

    terminal: Terminal
    path: Path
    done: Done
    """The command that made it."""

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.path)

    def copy(self, folder: Path) -> "TinyRun":
        """Everything in the working folder once more, to be damaged."""
        shutil.copytree(self.terminal.folder, folder)
        return TinyRun(Terminal(folder), folder / self.path.relative_to(self.terminal.folder), self.done)

    def resume(self, *arguments: object, largest_file: int | None = None) -> Done:
        return self.terminal.run("train", "--headless", "--resume", self.path, *arguments, largest_file=largest_file)

    def checkpoints(self) -> dict[str, str]:
        """Checksums of the results by file name."""
        return {path.name: checksum(path.read_bytes()) for path in self.path.glob("checkpoints/*.safetensors")}

    def files(self) -> dict[str, str]:
        """Checksums of all files by name."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): checksum(path.read_bytes()) for path in files}

    def events(self) -> list[dict[str, Any]]:
        return read_events(self.path / "events.jsonl")

    def evaluation(self) -> dict[str, Any]:
        return json.loads((self.path / "reports/evaluation.json").read_text())

    def show(self) -> dict[str, Any]:
        """What `ups runs show --json` prints."""
        done = self.terminal.run("runs", "show", self.path, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def stage_states(self) -> dict[str, str]:
        return {stage["name"]: stage["state"] for stage in self.show()["stages"]}


def working_folder(folder: Path, settings: str = TINY) -> Terminal:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ups.toml").write_text(settings)
    return Terminal(folder)


def train_tiny(terminal: Terminal, *arguments: object, name: str = "run") -> TinyRun:
    """Train to the end; the folder is `name` in the working folder."""
    path = terminal.folder / name
    return TinyRun(terminal, path, terminal.run(*TRAIN, "--run-dir", path, *arguments))


def read_events(path: Path) -> list[dict[str, Any]]:
    """Whole lines of events.jsonl, read as strictly as JSON is meant; none without a file."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line, parse_constant=refuse) for line in lines]


def without_times(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of an evaluation.json that two equal runs share."""
    copy = json.loads(json.dumps(evaluation))
    for variant in copy["variants"].values():
        del variant["milliseconds_per_step"]
    return copy


def wait_until(condition: Callable[[], object], command: Command, what: str, timeout: float = 60.0) -> None:
    """Wait for something that a running command brings about; fails as soon as the command has ended without it."""
    end = time.monotonic() + timeout
    while not condition():
        if not command.running and not condition():
            done = command.wait()
            raise AssertionError(f"ended with {done.code} before {what}: {done.err}")
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} in {timeout} s")
        time.sleep(0.002)
