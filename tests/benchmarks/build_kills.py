"""Builds killed with SIGKILL at random moments, restarted, and compared byte for byte: `python build_kills.py [SEED]`.

Ten times each a build, two builds that share a store, training that completes the store on the fly, and that beside a
build are started and killed, one after the other; then a build finishes. Prints a line for each; ends with code 1 if
any byte differs.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "latents"))

from toy_cache import files_of, toy_target

from ups_engine.latents.building.completion import build_target

SCRIPT = Path(__file__).parent.parent / "latents/toy_cache.py"
KILLS = 10
SAMPLES = 8000


def start(folder: Path, work: str) -> subprocess.Popen[str]:
    """A process that is about to begin."""
    command = [sys.executable, str(SCRIPT), str(folder), str(SAMPLES), work]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    """Let it begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def seconds(folder: Path, work: str) -> float:
    """How long it takes undisturbed."""
    process = start(folder, work)
    since = time.monotonic()
    begin(process)
    process.communicate()
    return time.monotonic() - since


def killed_often(folder: Path, works: Sequence[str], moments: random.Random, full: float) -> int:
    """Start processes and kill them one after the other, again and again; then finish.

    Returns:
        How many times the last kill left the store incomplete.
    """
    incomplete = 0
    for _ in range(KILLS):
        processes = [start(folder, work) for work in works]
        for process in processes:
            begin(process)
        for process in processes:
            time.sleep(moments.uniform(0.0, 1.5 * full / KILLS / len(works)))
            process.kill()
            process.communicate()
        target = toy_target(folder, samples=SAMPLES, rows_in_block=2)
        incomplete += len(list(target.path.glob("latents/c.*.0"))) < SAMPLES
    build_target(toy_target(folder, samples=SAMPLES, rows_in_block=2))
    return incomplete


def main(seed: int) -> int:
    """Run all three and compare."""
    moments, bad = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        target = toy_target(root / "reference", samples=SAMPLES, rows_in_block=2)
        full = {"build": seconds(root / "reference", "build"), "train": seconds(root / "timed", "train")}
        reference = files_of(target.path)
        for works in (("build",), ("build", "build"), ("train",), ("train", "build")):
            folder = root / "-".join(works)
            incomplete = killed_often(folder, works, moments, full[works[0]])
            same = files_of(folder / target.path.name) == reference
            bad += not same
            verdict = "every byte is that of an uninterrupted build" if same else "BYTES DIFFER"
            print(f"{' beside '.join(works):18} {KILLS} kills, {incomplete} in the middle: {verdict}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
