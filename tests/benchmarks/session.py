"""What watching and commanding a run costs: answers to commands, steps per second, bytes to the terminal, CPU.

    OMP_NUM_THREADS=1 python tests/benchmarks/session.py

One run trains all the while. Windows without and with `ups tui` alternate, so that the ratios hold on a shared machine.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))

from terminals import PseudoTerminal

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import Event, EventReader
from ups_engine.runs.requests import await_answer, request

WINDOW = 10.0
PAIRS = 6
STALL = 30.0
COMMANDS = 20
LONG = ("stages.operator.epochs=100000", "training.log_interval=0.2")


def main() -> None:
    """Start a run, measure, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        run = _start(Path(folder))
        try:
            _wait_for_steps(run)
            answers(run)
            watched(run, Path(folder))
            stalled(run, Path(folder))
            paused(run, Path(folder))
        finally:
            await_answer(run, request(run, "stop"), 60)


def answers(run: RunDirectory) -> None:
    """Time from sending a command to its acknowledgement, beside the longest step."""
    delays = []
    for _ in range(COMMANDS):
        for kind in ("pause", "resume"):
            time.sleep(random.uniform(0.1, 0.8))
            begin = time.time()
            asked = request(run, kind)
            await_answer(run, asked, 60)
            told = next(
                event for event in EventReader(run.events, asked.since).events() if event.data.get("id") == asked.id
            )
            delays.append(told.time - begin)
    rate = _rate(run, WINDOW)
    print(f"a step takes {1e3 / rate:.1f} ms")
    print(f"acknowledged after {1e3 * statistics.median(delays):.0f} ms, at worst {1e3 * max(delays):.0f} ms")


def watched(run: RunDirectory, folder: Path) -> None:
    """Steps per second with the interface against without it, its output and its CPU."""
    ratios, rates, shares = [], [], []
    for _ in range(PAIRS):
        bare = _rate(run, WINDOW)
        terminal = PseudoTerminal(folder, "tui", run.path, size=(120, 40))
        terminal.drain(5)  # it starts
        viewer = psutil.Process(terminal.process.pid)
        begin, used = time.monotonic(), sum(viewer.cpu_times()[:2])
        since = time.time()
        written = len(terminal.drain(WINDOW))
        ratios.append(_between(run, since, time.time()) / bare)
        rates.append(written / WINDOW)
        shares.append((sum(viewer.cpu_times()[:2]) - used) / (time.monotonic() - begin))
        terminal.end()
    print(f"steps per second watched / not watched: {statistics.median(ratios):.3f} ({_range(ratios)})")
    print(f"written while training at 120x40: {statistics.median(rates) / 1e3:.1f} KB/s ({_range(rates)} B/s)")
    print(f"CPU of the interface: {100 * statistics.median(shares):.1f} % of a core ({_range(shares)})")


def stalled(run: RunDirectory, folder: Path) -> None:
    """Steps per second while nobody reads from the interface's terminal, against before and after."""
    before = _rate(run, STALL)
    terminal = PseudoTerminal(folder, "tui", run.path, size=(200, 60))
    terminal.drain(5)
    during = _rate(run, STALL)  # the pseudo-terminal fills up and its writer blocks
    terminal.end()
    after = _rate(run, STALL)
    print(f"steps per second, terminal stalled / not: {during / statistics.mean((before, after)):.3f}")


def paused(run: RunDirectory, folder: Path) -> None:
    """Output while the run is paused."""
    await_answer(run, request(run, "pause"), 60)
    terminal = PseudoTerminal(folder, "tui", run.path, size=(120, 40))
    terminal.drain(10)
    viewer = psutil.Process(terminal.process.pid)
    used = sum(viewer.cpu_times()[:2])
    written = len(terminal.drain(30))
    share = (sum(viewer.cpu_times()[:2]) - used) / 30
    terminal.end()
    await_answer(run, request(run, "resume"), 60)
    print(f"written while paused: {written / 30e3:.2f} KB/s, CPU {100 * share:.1f} %")


def _start(folder: Path) -> RunDirectory:
    settings = [word for value in LONG for word in ("--set", value)]
    line = [sys.executable, "-m", "ups_app", "train", "--detach", "--run-dir", str(folder / "run"), *settings]
    subprocess.run(line, cwd=folder, check=True, env=os.environ)
    return RunDirectory(folder / "run")


def _wait_for_steps(run: RunDirectory) -> None:
    while not any(event.kind == "step" and event.stage == "operator" for event in _events(run)):
        time.sleep(1)


def _events(run: RunDirectory) -> list[Event]:
    return list(EventReader(run.events, steps=True).events())


def _rate(run: RunDirectory, seconds: float) -> float:
    since = time.time()
    time.sleep(seconds)
    return _between(run, since, time.time())


def _between(run: RunDirectory, since: float, until: float) -> float:
    """Steps per second, validations left out: the median over stretches between neighbouring step events."""
    steps: list[Event] = [e for e in _events(run) if e.kind == "step" and since <= e.time <= until]
    spans = [(b.step - a.step) / (b.time - a.time) for a, b in pairwise(steps) if a.epoch == b.epoch]
    return statistics.median(spans)


def _range(values: list[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"


if __name__ == "__main__":
    main()
