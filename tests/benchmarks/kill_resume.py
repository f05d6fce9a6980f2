"""Kill a run at random moments of every stage, resume it each time, and compare what it ends with, bit by bit.

    python tests/benchmarks/kill_resume.py [--kills 3] [--seed 1] [--folder DIR]

One run is left alone. The other one is ended with SIGKILL, `--kills` times while its data are made, while its latents
are cached, in each training stage and in the evaluation, and resumed by `ups train --headless --resume`. Exit code 0:
every checkpoint has the same bits and the evaluation the same figures; 1: they differ. Takes about three minutes.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

UPS = (sys.executable, "-m", "ups_app")
SETTINGS = """\
[data]
trajectories = 300
[data.generate] # more than are used, so that making them takes a while
trajectories = 4000
points = 32
[latent]
dim = 4
[training]
batch_size = 64
checkpoint_interval = 0
"""
TRAINED = ("autoencoder", "operator", "diff_residual", "consistency_distill", "steady_prior")


class Victim:
    """A run in a working folder of its own, and the process that works on it now."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "ups.toml").write_text(SETTINGS)
        self.folder, self.run = folder, folder / "run"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the run, or go on with it."""
        known = ("--resume", "run") if (self.run / "run.json").exists() else ("--preset", "smoke", "--run-dir", "run")
        with (self.folder / "log").open("ab") as log:
            environment = {**os.environ, "HOME": str(self.folder)}
            command = (*UPS, "train", "--headless", *known)
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)

    def finish(self) -> int:
        assert self._process is not None
        return self._process.wait()

    def kill_when(self, condition: Callable[[], bool], delay: float) -> bool:
        """Wait for a moment, a little longer, and kill; False when the process came to its end before."""
        assert self._process is not None
        while not condition():
            if self._process.poll() is not None:
                return False
            time.sleep(0.001)
        time.sleep(delay)
        self._process.send_signal(signal.SIGKILL)
        return self._process.wait() == -signal.SIGKILL

    def events(self) -> list[dict[str, Any]]:
        path = self.run / "events.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def steps(self, stage: str) -> int:
        """Optimiser steps of a stage that its resumable states have reached."""
        saved = (e for e in self.events() if e["stage"] == stage and "resume" in e["data"])
        return max((event["step"] for event in saved), default=0)

    def begun(self, stage: str) -> bool:
        """Whether the process at work has begun a stage."""
        kinds = [(event["kind"], event["stage"]) for event in self.events()]
        last_start = max((i for i, (kind, _) in enumerate(kinds) if kind.startswith("run_")), default=0)
        return ("stage_started", stage) in kinds[last_start:]

    def makes_data(self) -> bool:
        """Whether the process at work is writing a data file; what a killed one left does not count."""
        assert self._process is not None
        return any((self.folder / "data/generated").glob(f".*.{self._process.pid}.partial"))

    def chunks(self) -> int:
        return sum(1 for _ in self.folder.glob("data/latent_cache/burgers1d-train-*.zarr/latents/c.*"))

    def outcome(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Checksums of the checkpoints, and the evaluation without its times."""
        files = sorted(self.run.glob("checkpoints/*.safetensors"))
        evaluation = json.loads((self.run / "reports/evaluation.json").read_text())
        for variant in evaluation["variants"].values():
            del variant["milliseconds_per_step"]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}, evaluation


Moment = tuple[str, Callable[[], bool], float]
"""What is waited for before a blow, by name and as a condition, and how long the blow comes after it, in seconds."""


def moments(draw: random.Random, victim: Victim, left_alone: Victim, kills: int) -> Iterator[Moment]:
    """Choose when to kill, in the order of the run."""
    for _ in range(kills):
        yield "data", victim.makes_data, draw.uniform(0, 0.1)
    for stage in TRAINED:
        if stage == "operator":
            for count in sorted(draw.sample(range(1, 240), kills)):
                yield "cache", lambda count=count: victim.chunks() >= count, draw.uniform(0, 0.005)
        for step in sorted(draw.sample(range(1, left_alone.steps(stage)), kills)):
            yield stage, lambda stage=stage, step=step: victim.steps(stage) >= step, draw.uniform(0, 0.03)
    seconds = next(e["data"]["seconds"] for e in reversed(left_alone.events()) if e["kind"] == "stage_finished")
    for _ in range(kills):
        yield "evaluation", lambda: victim.begun("evaluation"), draw.uniform(0, 0.8 * seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3, help="in each stage")
    parser.add_argument("--seed", type=int, default=None, help="of the moments; drawn and told if left out")
    parser.add_argument("--folder", type=Path, default=None, help="kept; a temporary one if left out")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as temporary:
        return compare(given.folder or Path(temporary), random.Random(seed), given.kills)


def compare(folder: Path, draw: random.Random, kills: int) -> int:
    left_alone, victim = Victim(folder / "left-alone"), Victim(folder / "killed")
    began = time.monotonic()
    left_alone.start()
    if left_alone.finish():
        print((left_alone.folder / "log").read_text())
        return 1
    print(f"left alone: {time.monotonic() - began:.1f} s")
    hits = 0
    for name, condition, delay in moments(draw, victim, left_alone, kills):
        victim.start()
        hits += (hit := victim.kill_when(condition, delay))
        told = [e for e in victim.events() if e["kind"] not in ("heartbeat", "step")][-1:]
        where = "".join(f"{e['kind']} {e['stage'] or ''} step {e['step']}" for e in told)
        print(f"{name:20} {'killed' if hit else 'ended before'} after: {where or 'nothing'}", flush=True)
    victim.start()
    code = victim.finish()
    same_bits, same_figures = (a == b for a, b in zip(victim.outcome(), left_alone.outcome(), strict=True))
    sequence = [event["seq"] for event in victim.events()]
    unbroken = sequence == list(range(1, len(sequence) + 1))
    print(
        f"exit code {code}; checkpoints equal: {same_bits}; evaluation equal: {same_figures}; seq unbroken: {unbroken}"
    )
    print(f"{hits} kills, {len(victim.outcome()[0])} checkpoints, {time.monotonic() - began:.0f} s")
    wanted = kills * (len(TRAINED) + 3)
    if hits < wanted:
        print(f"{wanted - hits} blows came after the end of what they were meant for")
    return 0 if code == 0 and same_bits and same_figures and unbroken and hits == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
