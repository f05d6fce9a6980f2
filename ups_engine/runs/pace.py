"""How long it will still take, from how long it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ups_engine.runs.event_file import Event
from ups_engine.runs.projection import StageState
from ups_engine.runs.strict_json import finite

RECENT_EPOCHS = 5


@dataclass(frozen=True)
class Eta:
    """Seconds left, as estimated at the last event; None when nothing is known to tell it by, or nothing goes on."""

    stage: float | None = None
    """Of the stage under way: the epochs left at the pace of the last few. It may well end earlier, by its patience."""
    run: float | None = None
    """Of the run: the stage under way, and the epochs of the waiting stages at the mean pace of the stages seen."""


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
