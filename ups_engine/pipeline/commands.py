"""Where the commands to a run are answered: between steps, between batches of other work, and all through a pause.

A command is obeyed or refused, acknowledged by a `command` event, and only then takes effect. Nothing here runs in a
thread of its own or in a signal handler: whoever works for the run asks, at every boundary where it could stop.
"""

import time
from collections.abc import Callable
from enum import Enum

from ups_engine.pipeline.announcer import Announcer
from ups_engine.pipeline.plan import EVALUATION, Agenda
from ups_engine.runs.commands import Command, CommandKind, Inbox
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.signals import StopRequest
from ups_engine.training.control import Action, Control

POLLS_APART = 0.1
"""Seconds between looks into the inbox; a look lists a folder, which may be on another machine."""
SKIPPED = {"reason": "skipped by a command"}
"""The data of a `stage_skipped` event."""
_CHANGES_PLAN = frozenset({"skip_stage", "start_stage"})


class Outcome(Enum):
    """How a run left."""

    FINISHED = "finished"
    STOPPED = "stopped"
    """Asked to; resumable."""
    PARKED = "parked"
    """Asked to make room, and to be resumed later."""


class LeaveError(Exception):
    """The run is to leave, which came up outside the step loop."""


class SkipError(Exception):
    """The running stage is to be skipped, which came up outside the step loop."""


class CommandDesk(Control):
    """Answers commands, and holds the run up while it is paused.

    Args:
        run: whose inbox is looked into; owned by this process.
        agenda: of the run.
        stop: made by a signal.
        announcer: of events.
        comeback: the run has been started before. Commands that came while it was down are then answered, but
            those that were meant for the process of that time are refused.
    """

    def __init__(
        self, run: RunDirectory, agenda: Agenda, stop: StopRequest, announcer: Announcer, *, comeback: bool
    ) -> None:
        self._agenda, self._stop, self._announcer = agenda, stop, announcer
        self._inbox = Inbox(run)
        self._stale = frozenset(command.id for command in self._inbox.poll()) if comeback else frozenset()
        self.held = 0.0
        self.leaving: Outcome | None = None
        """How the run is to leave, once that is known."""
        self.stepping = False
        """Whether the step loop runs, which is then what acts."""
        self._paused = self._saved = False
        self._told = False  # readers take the run for paused
        self._wish = Action.GO_ON
        self._epoch = self._step = 0
        self._due = 0.0

    def begin(self, epoch: int, step: int) -> None:
        """The agenda's stage begins, with so many epochs and steps behind it."""
        self._epoch, self._step = epoch, step

    def next_action(self, epoch: int, step: int) -> Action:
        """See `Control.next_action`; a run that is paused saves its state first."""
        self._epoch, self._step = epoch, step
        self._look()
        if self._held_up() and not self._saved:
            self._saved = True
            return Action.SAVE
        self._hold()
        if self.leaving is not None:
            return Action.LEAVE
        wish, self._wish = self._wish, Action.GO_ON
        return wish

    def between(self) -> None:
        """Ask outside the step loop, or inside a step that takes long.

        Raises:
            LeaveError, SkipError: it is asked for, and no step loop is there to do it.
        """
        self._look()
        self._hold()
        if self.stepping:
            return
        if self.leaving is not None:
            raise LeaveError
        if self._wish is Action.SKIP_STAGE:
            self._wish = Action.GO_ON
            raise SkipError

    def close(self, reason: str, *, for_good: bool) -> None:
        """Refuse what waits still, as the run leaves; unless that is for good, the plan may still be changed."""
        for command in self._inbox.poll():
            if for_good or command.kind not in _CHANGES_PLAN:
                self._acknowledge(command, command.stage, reason)

    def _held_up(self) -> bool:
        return self._paused and self._wish is Action.GO_ON and self.leaving is None

    def _hold(self) -> None:
        if not self._held_up():
            return
        began = time.monotonic()
        self._announcer.emit("run_paused", stage=self._agenda.running, epoch=self._epoch, step=self._step)
        self._told = True
        while self._held_up():
            time.sleep(POLLS_APART / 2)
            self._look()
        self.held += time.monotonic() - began

    def _look(self) -> None:
        if self._stop.made and self.leaving is None:
            self.leaving = Outcome.STOPPED
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + POLLS_APART
        for command in self._inbox.poll():
            self._answer(command)

    def _answer(self, command: Command) -> None:
        stage = command.stage
        if stage is None and command.kind in ("skip_stage", "finish_stage"):
            stage = self._agenda.running
        refusal = self._refusal(command, stage)
        self._acknowledge(command, stage, refusal)
        if refusal is None:
            self._obey(command.kind, stage)

    def _acknowledge(self, command: Command, stage: str | None, refusal: str | None) -> None:
        outcome = {"outcome": "done"} if refusal is None else {"outcome": "refused", "reason": refusal}
        data = {"id": command.id, "command": command.kind, "stage": stage, **outcome}
        self._announcer.emit("command", stage=self._agenda.running, epoch=self._epoch, step=self._step, data=data)
        self._inbox.done(command)

    def _refusal(self, command: Command, stage: str | None) -> str | None:
        """Why a command is not obeyed, or None."""
        if command.id in self._stale and command.kind not in _CHANGES_PLAN:
            return "it was meant for the process that the run had before; send it again"
        if self.leaving is not None:
            return f"the run is about to leave, {self.leaving.value}"
        ending = self._wish is not Action.GO_ON and stage == self._agenda.running
        refusals: dict[CommandKind, Callable[[], str | None]] = {
            "pause": lambda: "the run is paused already" if self._paused else None,
            "resume": lambda: None if self._paused else "the run is not paused",
            "finish_stage": lambda: "the stage is about to end" if ending else self._refuse_finish(stage),
            "skip_stage": lambda: "the stage is about to end" if ending else self._refuse_skip(stage),
            "start_stage": lambda: self._agenda.refuse_start(str(stage)),
            "park": lambda: None,
            "stop": lambda: None,
        }
        return refusals[command.kind]()

    def _refuse_skip(self, stage: str | None) -> str | None:
        return "no stage is running yet; name the one to skip" if stage is None else self._agenda.refuse_skip(stage)

    def _refuse_finish(self, stage: str | None) -> str | None:
        if stage is None or stage != self._agenda.running:
            return "no stage is running yet" if stage is None else f"stage {stage} is not running"
        if stage == EVALUATION:
            return "an evaluation has no weights to keep; skip it, or let it come to its end"
        if not self.stepping or self._step == 0:
            return f"stage {stage} has not taken a step yet; skip it instead"
        return None

    def _obey(self, kind: CommandKind, stage: str | None) -> None:
        match kind:
            case "pause":
                self._paused, self._saved = True, not self.stepping
            case "resume":
                self._paused = False
                if self._told:
                    self._told = False
                    at = {"stage": self._agenda.running, "epoch": self._epoch, "step": self._step}
                    self._announcer.emit("run_resumed", data={"after": "pause", **at})
            case "finish_stage":
                self._wish = Action.FINISH_STAGE
            case "skip_stage" if stage == self._agenda.running:
                self._wish = Action.SKIP_STAGE
            case "skip_stage":
                self._agenda.skip(str(stage))
                self._announcer.emit("stage_skipped", stage=stage, data=SKIPPED)
            case "start_stage":
                self._agenda.start(str(stage))
            case "park" | "stop":
                self.leaving = Outcome.PARKED if kind == "park" else Outcome.STOPPED
