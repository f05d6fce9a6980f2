"""Recorded runs as they were at some moment, in a working folder where nothing depends on the machine.

`tests/recorded/h200` was trained on a GPU, with every command in its history and without its checkpoints and reports;
`finished` on a CPU, with its reports. Both ran in /home/ada/burgers. `answers` holds what `ups` commands printed there.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ups_app.tui.app import UpsApp
from ups_app.tui.process import Done
from ups_engine.config.layers import load_settings
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.owner import Owner, boot_id, start_time

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
Event = dict[str, Any]

HISTORY: list[Event] = [json.loads(line) for line in (RECORDED / "h200/events.jsonl").read_text().splitlines()]
"""Of the run on the GPU."""


def moment(holds: Callable[[Event], bool]) -> int:
    """Number of the first event of the GPU run for which something holds."""
    return next(event["seq"] for event in HISTORY if holds(event))


def commanded(command: str) -> int:
    """Number of the event that acknowledges a command."""
    return moment(lambda event: event["kind"] == "command" and event["data"]["command"] == command)


BEFORE_FINISH = commanded("finish_stage") - 1
"""The operator trains; a stage has been skipped, another one started by hand."""
PAUSED = moment(lambda event: event["kind"] == "run_paused")
PARKED = moment(lambda event: event["data"].get("outcome") == "parked")


def recorded(folder: Path, source: str = "h200", *, name: str = "burgers", until: int | None = None) -> RunDirectory:
    """Copy a recorded run into `folder/runs`, its history cut after the event number `until`."""
    run = RunDirectory(folder / "runs" / name)
    shutil.copytree(RECORDED / source, run.path)
    for empty in ("commands", "checkpoints/resume", "reports"):
        (run.path / empty).mkdir(parents=True, exist_ok=True)
    if until is not None:
        lines = run.events.read_bytes().splitlines(keepends=True)
        run.events.write_bytes(b"".join(lines[:until]))
    return run


def say(run: RunDirectory, kind: str, *, stage: str | None = None, **data: object) -> None:
    """Add an event a second after the last."""
    last = last_event(run)
    event = {"seq": last["seq"] + 1, "time": last["time"] + 1.0, "kind": kind, "stage": stage}
    line = json.dumps({**event, "epoch": None, "step": None, "data": data}, separators=(",", ":"))
    with run.events.open("a") as file:
        file.write(line + "\n")


def last_event(run: RunDirectory) -> Event:
    """The newest event."""
    return json.loads(run.events.read_bytes().splitlines()[-1])


def dated(run: RunDirectory, created: float) -> None:
    """Enter another moment of creation."""
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**record, "created": created}))


@contextmanager
def owned(*runs: RunDirectory) -> Iterator[None]:
    """Let a process that does nothing own runs, so that they live."""
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            start = start_time(process.pid)
            assert start is not None
            for run in runs:
                run.write_owner(Owner(process.pid, start, boot_id(), "ws", 1))
            yield
        finally:
            process.kill()


def lose(run: RunDirectory) -> RunDirectory:
    """Let the run's process be one that is gone."""
    with owned(run):
        pass
    return run


class RecordedApp(UpsApp):
    """The interface in a recorded working folder: the clock stands still, and `ups` commands answer as they once did.

    Args:
        folder: the working folder.
        run: to follow.
        now: UNIX time.
        damaged: whether chunks of the cache are missing.
    """

    def __init__(
        self, folder: Path, run: RunDirectory | None, *, now: float, damaged: bool = False, **options: Any
    ) -> None:
        resolved = load_settings(folder=folder, env={}, home=folder)
        super().__init__(resolved, run, clock=lambda: now, **options)
        self._damaged = damaged

    async def ups(self, *arguments: str, on_line: Callable[[str], None] | None = None) -> Done:
        """Give the recorded answer."""
        answers = {"train --dry-run": "train-dry-run", "cache check": f"cache-check{'-damaged' * self._damaged}"}
        answer = (RECORDED / "answers" / f"{answers[' '.join(arguments[:2])]}.json").read_text()
        if on_line is not None:
            on_line("caches of the encoder of run burgers (/home/ada/burgers/runs/burgers)")
        return Done(0, answer, "")
