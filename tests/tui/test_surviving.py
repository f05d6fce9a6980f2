"""A run outlives whoever watches it: the interface killed, its terminal closed, another one that finds it."""

import signal
import time

from terminals import PseudoTerminal
from tiny_run import TINY, read_events, working_folder

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import await_answer, request

LONG = ("--preset", "smoke", "--set", "stages.autoencoder.epochs=100000")


def epochs(run):
    return sum(event["kind"] == "epoch" for event in read_events(run.events))


def goes_on(run, timeout=30.0):
    """Wait for more epochs than there are now."""
    before, end = epochs(run), time.monotonic() + timeout
    while epochs(run) < before + 3:
        assert time.monotonic() < end, "the run stands still"
        time.sleep(0.02)


def test_a_run_goes_on_without_the_interface_and_without_its_terminal_and_is_found_again(tmp_path):
    folder = working_folder(tmp_path / "work", TINY).folder
    run = RunDirectory(folder / "runs/long")
    env = {"HOME": str(tmp_path)}
    # Started in the very terminal that the interface will run in, and that will be closed.
    first = PseudoTerminal(folder, "train", "--detach", "--run-dir", run.path, *LONG, env=env)
    first.until(lambda: first.process.poll() is not None, timeout=60)
    try:
        for end in ("kill", "close"):
            viewer = PseudoTerminal(folder, "tui", size=(100, 30), env=env)
            viewer.until(lambda viewer=viewer: b"autoencoder" in viewer.written and b"running" in viewer.written)
            if end == "kill":
                viewer.process.send_signal(signal.SIGKILL)
            else:
                viewer.close()
            viewer.process.wait(10)
            goes_on(run)
            viewer.end()
        first.close()
        goes_on(run)
    finally:
        await_answer(run, request(run, "stop"), 60)
        first.end()
    seqs = [event["seq"] for event in read_events(run.events)]
    assert seqs == list(range(1, len(seqs) + 1))
