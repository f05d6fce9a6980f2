"""What a run has told so far, in bounded memory: its curves, its latest events, and how long it will still take."""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ups_engine.runs.curves import Curve, StageCurves, StageRecorder
from ups_engine.runs.event_file import Event
from ups_engine.runs.pace import Eta, Pace, estimate
from ups_engine.runs.state import RunState

__all__ = ["Curve", "Eta", "History", "RunView", "StageCurves"]

KEPT = 50
"""Warnings, and acknowledged commands, that a view holds."""
KEPT_EVENTS = 200


@dataclass(frozen=True, eq=False)
class RunView:
    """All that can be shown of a run at one moment. Nothing in it ever changes."""

    version: int
    """Grows whenever anything in the view changed, `state.silence` excepted."""
    state: RunState
    curves: Mapping[str, StageCurves]
    """By stage, of those that have begun."""
    eta: Eta
    warnings: tuple[Event, ...]
    """The latest 50."""
    commands: tuple[Event, ...]
    """The latest 50 `command` events: what became of commands."""
    recent: tuple[Event, ...]
    """The latest 200 events that are neither step nor heartbeat."""
    evaluation: Event | None
    vitals: Mapping[str, Any]
    """Data of the last heartbeat; empty without one."""
    last_epoch: Event | None
    """Of the stage under way; of the last one that was when none is."""
    last_step: Event | None
    """Likewise."""


class History:
    """The sum of a run's events as far as it is no state; a `StateReader` feeds it."""

    def __init__(self) -> None:
        self.changes = 0
        """Counts events taken in."""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.changes += 1
        self._warnings: deque[Event] = deque(maxlen=KEPT)
        self._commands: deque[Event] = deque(maxlen=KEPT)
        self._recent: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._evaluation: Event | None = None
        self._forget_stages()

    def _forget_stages(self) -> None:
        self._recorders: defaultdict[str, StageRecorder] = defaultdict(StageRecorder)
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        self._under_way: set[str] = set()
        self._last_epoch: Event | None = None
        self._last_step: Event | None = None

    def add(self, event: Event) -> None:
        """Take in the next event."""
        self.changes += 1
        if event.kind == "step":
            self._last_step = event
            if event.stage is not None:
                self._recorders[event.stage].step(event)
                self._paces[event.stage].step(event)
        elif event.kind != "heartbeat":
            self._recent.append(event)
            self._rare(event)

    def view(self, version: int, state: RunState) -> RunView:
        """Give what there is now.

        Args:
            version: of the view.
            state: of the run after the same events.
        """
        in_progress = state.state in ("running", "paused")
        return RunView(
            version=version,
            state=state,
            curves=MappingProxyType({name: recorder.curves() for name, recorder in self._recorders.items()}),
            eta=estimate(state.stages, state.stage, self._paces) if in_progress else Eta(),
            warnings=tuple(self._warnings),
            commands=tuple(self._commands),
            recent=tuple(self._recent),
            evaluation=self._evaluation,
            vitals={} if state.last_heartbeat is None else state.last_heartbeat.data,
            last_epoch=self._last_epoch,
            last_step=self._last_step,
        )

    def _rare(self, event: Event) -> None:
        if event.kind == "warning":
            self._warnings.append(event)
        elif event.kind == "command":
            self._commands.append(event)
        elif event.kind == "evaluation":
            self._evaluation = event
        elif event.kind == "run_started":
            self._forget_stages()
            self._evaluation = None
        elif event.kind == "run_resumed":
            self._resumed(event)
        elif event.kind == "run_paused":
            self._break_off()
        elif event.stage is not None:
            self._stage_event(event, event.stage)

    def _stage_event(self, event: Event, stage: str) -> None:
        recorder = self._recorders[stage]
        if event.kind == "stage_started":
            self._begin(event, stage)
        elif event.kind == "epoch":
            if self._last_step is None or self._last_step.epoch != event.epoch:
                recorder.step(event)  # an epoch shorter than the interval of steps: better its mean than nothing
            self._last_epoch = event
            self._paces[stage].epoch(event)
        elif event.kind == "validation":
            recorder.validation(event)
        elif event.kind in ("stage_finished", "stage_skipped"):
            self._under_way.discard(stage)

    def _begin(self, event: Event, stage: str) -> None:
        self._under_way.add(stage)
        pace = self._paces[stage]
        if event.step:
            self._recorders[stage].cut(event.step)
            pace.break_off()
        else:
            self._recorders[stage], self._paces[stage] = StageRecorder(), Pace()
        self._go_back(stage, event.epoch)

    def _resumed(self, event: Event) -> None:
        """Take back what is done again: what lies beyond the step to go on from, and stages whose state was lost."""
        self._break_off()
        if event.data.get("after") == "pause":
            return
        stage, epoch, step = (event.data.get(name) for name in ("stage", "epoch", "step"))
        for name, recorder in self._recorders.items():
            if name == stage and isinstance(step, int):
                recorder.cut(step)
            elif name in self._under_way:
                recorder.cut(-1)
        self._go_back(stage, epoch)

    def _go_back(self, stage: str | None, epoch: int | None) -> None:
        """Keep of the latest step and epoch what stands when so many epochs of a stage do."""
        self._last_step = None
        last = self._last_epoch
        if last is not None and (last.stage != stage or (last.epoch or 0) >= (epoch or 0)):
            self._last_epoch = None

    def _break_off(self) -> None:
        for pace in self._paces.values():
            pace.break_off()
