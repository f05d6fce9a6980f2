"""What a run has told so far, in bounded memory: its curves, its latest events, and how long it will still take."""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ups_engine.runs.curves import StageCurves, StageRecorder
from ups_engine.runs.event_file import Event
from ups_engine.runs.pace import Eta, Pace, estimate
from ups_engine.runs.projection import RunProjection
from ups_engine.runs.state import RunState

KEPT = 50
"""Warnings that a view holds."""
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
    recent: tuple[Event, ...]
    """The latest 200 events that are neither step nor heartbeat."""
    evaluation: Event | None
    vitals: Mapping[str, Any]
    """Data of the last heartbeat; empty without one."""
    last_step: Event | None
    """Of the stage under way; of the last one that was when none is."""


class History(RunProjection):
    """The projection of a run and what else its events tell; a `StateReader` feeds it."""

    changes = 0
    """Counts events taken in."""

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self.changes += 1
        self._warnings: deque[Event] = deque(maxlen=KEPT)
        self._recent: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._evaluation: Event | None = None
        self._recorders: defaultdict[str, StageRecorder] = defaultdict(StageRecorder)
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        self._last_step: Event | None = None

    def add(self, event: Event) -> None:
        """Take in the next event."""
        self.changes += 1
        super().add(event)
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
            curves={name: recorder.curves() for name, recorder in self._recorders.items()},
            eta=estimate(state.stages, state.stage, self._paces) if in_progress else Eta(),
            warnings=tuple(self._warnings),
            recent=tuple(self._recent),
            evaluation=self._evaluation,
            vitals={} if state.last_heartbeat is None else state.last_heartbeat.data,
            last_step=self._last_step,
        )

    def _rare(self, event: Event) -> None:
        if event.kind == "warning":
            self._warnings.append(event)
        elif event.kind == "evaluation":
            self._evaluation = event
        elif event.kind in ("run_paused", "run_resumed"):
            for pace in self._paces.values():
                pace.break_off()
            if event.kind == "run_resumed" and event.data.get("after") != "pause":
                self._take_back(event.data.get("stage"), event.data.get("step"))
        elif event.stage is not None:
            self._trace(event, event.stage)

    def _trace(self, event: Event, stage: str) -> None:
        recorder, pace = self._recorders[stage], self._paces[stage]
        if event.kind == "stage_started":
            self._last_step = None
            if event.step:
                recorder.cut(event.step)
                pace.break_off()
            else:
                self._recorders[stage], self._paces[stage] = StageRecorder(), Pace()
        elif event.kind == "epoch":
            if self._last_step is None or self._last_step.epoch != event.epoch:
                recorder.step(event)  # an epoch shorter than the interval of steps: better its mean than nothing
            pace.epoch(event)
        elif event.kind == "validation":
            recorder.validation(event)

    def _take_back(self, stage: object, step: object) -> None:
        """Take back what is done again: what lies beyond the step to go on from, and stages whose state was lost."""
        self._last_step = None
        for name, recorder in self._recorders.items():
            if name == stage and isinstance(step, int):
                recorder.cut(step)
            elif self.waits(name):
                recorder.cut(-1)
