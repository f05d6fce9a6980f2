"""Asking something of a run from outside: refused at once where nobody would answer, else sent, and the answer awaited.

The run itself decides about what was sent and acknowledges it by a `command` event; see `ups_engine.runs.commands`.
"""

import time
from dataclasses import dataclass, replace
from typing import Literal

from ups_engine.errors import RunError
from ups_engine.runs.commands import CommandKind, send
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import EventReader
from ups_engine.runs.state import StateReader, summarise

LIVE = frozenset({"waiting", "running", "paused"})
"""States of a run that has a process, or is about to get one."""
_NEEDS_A_PROCESS = frozenset({"pause", "resume", "finish_stage", "park", "stop"})
_LOOKS_APART = 0.05


@dataclass(frozen=True)
class Answer:
    """What became of a command."""

    command: CommandKind
    stage: str | None
    id: str | None
    """Of the command's file and its acknowledgement; None for one that was never sent."""
    outcome: Literal["sent", "done", "refused"]
    reason: str | None = None
    """Why it was refused, or what `sent` means for a run that has no process."""
    since: int = 0
    """Bytes of the run's events when it was sent: its acknowledgement comes behind them."""


def request(run: RunDirectory, kind: CommandKind, *, stage: str | None = None) -> Answer:
    """Ask a run for something.

    Args:
        run: any run.
        kind: see `commands.CommandKind`.
        stage: see `commands.Command.stage`.

    Returns:
        `refused`, with the reason, where no process lives that could obey; else `sent`. What concerns the plan
        (`skip_stage`, `start_stage`) waits for a run that is down to come back.

    Raises:
        RunError: run.json is damaged, or the disk refuses.
        ValueError: `start_stage` without a stage.
    """
    state = summarise(run).state
    later = None
    if state not in LIVE:
        if kind in _NEEDS_A_PROCESS or stage is None:
            return Answer(kind, stage, None, "refused", f"the run is {state}, so no process would obey")
        if state == "finished":
            reason = f"the run is finished; go on with it by `ups runs resume {run.name} --stage {stage}`"
            return Answer(kind, stage, None, "refused", reason)
        later = f"the run is {state} and will answer when it goes on: ups runs resume {run.name}"
    since = run.events.stat().st_size if run.events.exists() else 0
    return Answer(kind, stage, send(run, kind, stage=stage), "sent", later, since)


def await_answer(run: RunDirectory, answer: Answer, timeout: float | None = None) -> Answer:
    """Wait until a run has acknowledged what was sent.

    Args:
        run: that it was sent to.
        answer: of `request`; one that was refused is given back as it is.
        timeout: seconds; None waits as long as the run lives.

    Raises:
        RunError: the run ended without an answer, or the time is over. The command waits for the run to come back.
    """
    if answer.outcome != "sent":
        return answer
    end = None if timeout is None else time.monotonic() + timeout
    answers, reader = EventReader(run.events, answer.since), StateReader(run)
    later = f"{answer.command} is kept in {run.commands} and answered when the run goes on"
    while True:
        state = reader.poll().state  # before the events: its last word may come between the two looks
        for event in answers.events():
            if event.kind == "command" and event.data.get("id") == answer.id:
                outcome: Literal["done", "refused"] = "done" if event.data.get("outcome") == "done" else "refused"
                return replace(answer, stage=event.data.get("stage"), outcome=outcome, reason=event.data.get("reason"))
        if state not in LIVE:
            raise RunError(f"run {run.name} is {state} and has not answered", later)
        if end is not None and time.monotonic() > end:
            raise RunError(f"run {run.name} has not answered in {timeout:g} s", later)
        time.sleep(_LOOKS_APART)
