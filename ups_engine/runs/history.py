"""What a run has told so far, in bounded memory: its curves, its latest events, and how long it will still take."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ups_engine.runs.curves import StageCurves, StageRecorder
from ups_engine.runs.event_file import Event
from ups_engine.runs.projection import RunProjection, StageState
from ups_engine.runs.state import RunState
from ups_engine.runs.strict_json import finite

KEPT = 50
"""Warnings that a view holds."""
KEPT_EVENTS = 200
RECENT_EPOCHS = 5


@dataclass(frozen=True)
class Eta:
    """Seconds left, as estimated at the last event; None when nothing is known to tell it by, or nothing goes on."""

    stage: float | None = None
    """Of the stage under way: the epochs left at the pace of the last few. It may well end earlier, by its patience."""
    run: float | None = None
    """Of the run: the stage under way, and the epochs of the waiting stages at the mean pace of the stages seen."""


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


class Pace:
    """How fast a stage goes."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        """What each complete epoch took, in seconds, where it was measured."""
        self.epoch_steps: float | None = None
        self._from: Event | None = None
        self._to: Event | None = None

    def step(self, event: Event) -> None:
        """Take in a step."""
        if event.step is None:
            return
        self.epoch_steps = _positive(event.data.get("epoch_steps")) or self.epoch_steps
        self._from = self._from or event
        self._to = event

    def epoch(self, event: Event) -> None:
        """Take in a complete epoch."""
        number = (event.epoch or 0) + 1
        seconds = _positive(event.data.get("epoch_seconds"))
        if seconds is None and (all_of_them := _positive(event.data.get("seconds"))):  # as earlier versions wrote it
            seconds = all_of_them / number
        if seconds is not None:
            self.epochs.append(seconds)
        if self.epoch_steps is None and event.step:
            self.epoch_steps = event.step / number

    def break_off(self) -> None:
        """Note that time goes by in which nothing is done, or that steps are done again."""
        self._from = self._to = None

    def seconds_per_epoch(self) -> float | None:
        """Give what an epoch takes now; before one is complete, by the steps so far."""
        if self.epochs:
            return fmean(self.epochs[-RECENT_EPOCHS:])
        if self.epoch_steps is None or self._from is None or self._to is None:
            return None
        steps = (self._to.step or 0) - (self._from.step or 0)
        return (self._to.time - self._from.time) / steps * self.epoch_steps if steps > 0 else None

    def epochs_left(self, stage: StageState) -> float:
        """Give the epochs left of this stage, the one under way in part."""
        done = float(stage.epoch)
        if self.epoch_steps and self._to is not None and self._to.step is not None:
            done = min(max(self._to.step / self.epoch_steps, done), done + 1)
        return max(0.0, stage.epochs - done)


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


def estimate(stages: Sequence[StageState], current: str | None, paces: Mapping[str, Pace]) -> Eta:
    """Estimate the time left of a run in progress.

    Args:
        stages: of the run, as they are now.
        current: the stage under way.
        paces: by stage, of those that have begun.
    """
    of_stage: float | None = None
    epochs = [seconds for pace in paces.values() for seconds in pace.epochs]
    mean = fmean(epochs) if epochs else None
    left = 0.0
    for stage in stages:
        if stage.name == current:
            pace = paces.get(current) or Pace()
            own = pace.seconds_per_epoch()
            mean = own if mean is None else mean
            of_stage = None if own is None else own * pace.epochs_left(stage)
            left += 0.0 if of_stage is not None else pace.epochs_left(stage)
        elif stage.state == "waiting":
            left += stage.epochs
    if mean is None:
        return Eta(of_stage, of_stage if not left else None)
    return Eta(of_stage, (of_stage or 0.0) + left * mean)


def _positive(value: object) -> float | None:
    number = finite(value)
    return number if number is not None and number > 0 else None
