"""Damage a finished run at random, many times, and see that no command ends well with other numbers and says nothing.

    python tests/benchmarks/damage_trials.py [--trials 300] [--seed 1] [--folder DIR] [--verbose]

A tiny run is trained, and others beside it: of another seed, of another operator on the same encoder, on other data.
Each trial changes, truncates, deletes or exchanges with another run's one file among results, sidecars, caches, data,
settings, data record and reports, and runs one command. It must fail with a message, end with the very numbers of the
sound run, or say what is different. Prints a table of outcomes, and every trial that did neither; exit code 1 if there
was one. Takes about a quarter of an hour.
"""

import argparse
import hashlib
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from terminal import Done, Terminal
from tiny_run import TRAIN, without_times, working_folder

OTHERS = {
    "seed": ("--set", "seed=1"),
    "operator": ("--set", "stages.operator.epochs=3"),
    "data": ("--set", "data.generate.seed=1"),
}
"""Runs to exchange files with, and what they were trained with."""
COMMANDS = {
    "evaluate": ("evaluate", "run"),
    "resume": ("train", "--headless", "--resume", "run"),
    "retrain": ("train", "--headless", "--resume", "run"),
    "dry run": ("train", "--dry-run", "--resume", "run"),
    "cache check": ("cache", "check", "run"),
    "show": ("runs", "show", "run"),
}
RETRAINED = "steady_prior"
"""The stage whose result is removed before `retrain`, so that a training stage meets the damage too."""
WORDS = re.compile(
    "warning|flaw|left out|is done again|not as UPS wrote|damaged|missing|another|stale|corrupt|differ"
    "|solves it first"
    "|others first"
)
KINDS = ("result", "sidecar", "pair", "stage", "cache", "data", "settings.toml", "data.json", "report")


@dataclass(frozen=True)
class Trial:
    """What was damaged, how, and which command met it."""

    kind: str
    damage: str
    files: tuple[str, ...]
    command: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.damage} {', '.join(self.files)}; {self.command}"


class Patient:
    """A finished run in a working folder, made whole again before every trial.

    Args:
        folder: absent or empty.
    """

    def __init__(self, folder: Path) -> None:
        self._sound, self.work = folder / "sound", folder / "work"
        terminal = working_folder(self.work)
        (self.work / "ups.toml").write_text((self.work / "ups.toml").read_text() + '[runs]\nroot = "."\n')
        for name, arguments in {"run": (), **{f"other-{name}": given for name, given in OTHERS.items()}}.items():
            done = terminal.run(*TRAIN, "--run-dir", name, *arguments)
            assert done.code == 0, done.err
            if name == "run":
                found = sorted(self.work.glob("data/latent_cache/*.zarr/**/*"))
                self._caches = [path.relative_to(self.work) for path in found if path.is_file()]
        self._terminal: Terminal = terminal
        shutil.copytree(self.work, self._sound)
        self._told = {}
        for command in COMMANDS:
            self._heal()
            done = self._command(command)
            self._told[command] = self.numbers(command, done), {*lines(done)}

    def files(self, kind: str) -> list[tuple[Path, ...]]:
        """Files of a kind that are damaged together, as paths in the working folder."""
        run, here = self._sound / "run", self._sound
        names = sorted(path.stem for path in run.glob("checkpoints/*.safetensors"))
        tensors = [run / f"checkpoints/{name}.safetensors" for name in names]
        pairs = [(path, path.with_suffix(".json")) for path in tensors]
        stages = ("encoder decoder", "operator operator_ema", "diffusion_residual diffusion_residual_ema")
        found: dict[str, list[tuple[Path, ...]]] = {
            "result": [(path,) for path in tensors],
            "sidecar": [(path.with_suffix(".json"),) for path in tensors],
            "pair": [*pairs],
            "stage": [tuple(p for pair in pairs if pair[0].stem in stage.split() for p in pair) for stage in stages],
            "cache": [(here / path,) for path in self._caches],
            "data": [(path,) for path in sorted(here.glob("data/generated/*seed0.hdf5"))],
            "report": [(run / "reports/evaluation.json",), (run / "reports/fields.npz",)],
        }
        chosen = found.get(kind, [(run / kind,)])
        return [tuple(path.relative_to(here) for path in paths) for paths in chosen]

    def suffer(self, kind: str, damage: str, command: str, pick: random.Random) -> tuple[Trial, str, str]:
        """Damage the run and have a command meet it.

        Returns:
            The trial; `refused`, `same`, `told` or `SILENT`; what the command said.
        """
        self._heal()
        files = pick.choice(self.files(kind))
        for path in files:
            hurt(self.work, path, damage, pick)
        trial = Trial(kind, damage, tuple(map(str, files)), command)
        done = self._command(command)
        said, (numbers, expected) = done.out + done.err, self._told[command]
        heard = WORDS.search("\n".join(line for line in lines(done) if line not in expected))
        if "Traceback" in said or done.code not in (0, 1, 2):
            return trial, "SILENT", said
        if done.code:
            clear = "error: " in done.err or command in ("cache check", "dry run")
            return trial, "refused" if clear else "SILENT", said
        if self.numbers(command, done) == numbers:
            return trial, "told, same" if heard else "same", said
        # What a check of the caches counts is what it has to say.
        return trial, "told" if heard or command == "cache check" else "SILENT", said

    def _heal(self) -> None:
        shutil.rmtree(self.work)
        shutil.copytree(self._sound, self.work)

    def _command(self, command: str) -> Done:
        if command == "retrain":
            for path in self.work.glob(f"run/checkpoints/{RETRAINED}.*"):
                path.unlink()
        return self._terminal.start(*COMMANDS[command]).wait(timeout=300)

    def numbers(self, command: str, done: Done) -> object:
        """What a command came to: printed, or written."""
        if command == "show":
            return [line for line in done.out.splitlines() if not line.startswith(("last event", "flaw"))]
        if command in ("cache check", "dry run"):
            return re.sub(r"[\d.]+ \w+ free|\d+% .*", "", "".join(done.out.split("RAM:")[:1]).split("disk")[0])
        report = self.work / "run/reports/evaluation.json"
        printed = [re.sub(r" +\S+$", "", line) for line in done.out.splitlines()]
        if not report.exists():
            return printed, None, None
        figures = without_times(json.loads(report.read_text()))
        results = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.work.glob("run/checkpoints/*.safetensors"))
        }
        return (
            printed,
            {key: figures[key] for key in ("variants", "selected", "steady_prior") if key in figures},
            (None if command == "evaluate" else results),
        )


def lines(done: Done) -> list[str]:
    """What a command said, without the time of day."""
    return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in (done.out + done.err).splitlines()]


DAMAGES = ("change", "truncate", "delete", *(f"exchange with {name}" for name in OTHERS))


def hurt(work: Path, path: Path, damage: str, pick: random.Random) -> None:
    """Damage a file."""
    target = work / path
    if damage == "delete":
        target.unlink()
    elif damage == "truncate":
        with target.open("r+b") as file:
            file.truncate(pick.randrange(max(1, target.stat().st_size)))
    elif damage == "change":
        data = bytearray(target.read_bytes())
        numbers = [at for at, byte in enumerate(data) if byte in b"0123456789"]
        if target.suffix in (".json", ".toml") and numbers:  # as by hand: still well formed
            at = pick.choice(numbers)
            data[at] = pick.choice([byte for byte in b"123456789" if byte != data[at]])
        elif data:
            data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)
        target.write_bytes(data)
    else:
        shutil.copyfile(counterpart(work, path, damage.removeprefix("exchange with "), pick), target)


def counterpart(work: Path, path: Path, other: str, pick: random.Random) -> Path:
    """The file of another run, or of another cache or data set, that takes the place of one."""
    if path.parts[0] == "run":
        return work / f"other-{other}" / Path(*path.parts[1:])
    alike = [found for found in sorted((work / path.parts[0] / path.parts[1]).rglob(path.name)) if found != work / path]
    if path.suffix == ".hdf5":
        alike = [found for found in sorted((work / path).parent.glob("*.hdf5")) if found != work / path]
    return pick.choice(alike)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="kept; a temporary one if left out")
    parser.add_argument("--verbose", action="store_true", help="print every trial")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return try_all(
            (given.folder or Path(temporary)).absolute(), random.Random(given.seed), given.trials, given.verbose
        )


def try_all(folder: Path, pick: random.Random, trials: int, verbose: bool) -> int:
    began, patient, outcomes, silent = time.monotonic(), Patient(folder), Counter(), []
    for number in range(trials):
        kind, command = KINDS[number % len(KINDS)], pick.choice([*COMMANDS])
        trial, outcome, said = patient.suffer(kind, pick.choice(DAMAGES), command, pick)
        outcomes[kind, outcome] += 1
        if outcome == "SILENT":
            silent.append(trial)
            print(f"{number}: SILENT {trial}\n{said}", flush=True)
        elif verbose:
            print(f"{number}: {outcome}, {trial}", flush=True)
    columns = ("refused", "told", "told, same", "same", "SILENT")
    print(f"{'':14}" + "".join(f"{name:>12}" for name in columns))
    for kind in KINDS:
        print(f"{kind:14}" + "".join(f"{outcomes[kind, name]:12}" for name in columns))
    print(f"{trials} trials, {len(silent)} silent, {time.monotonic() - began:.0f} s")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
