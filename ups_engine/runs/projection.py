"""What the events of a run mean when taken together: the plan, and the state of the run and of each of its stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ups_engine.runs.event_file import Event

StageStatus = Literal["waiting", "running", "done", "skipped", "failed"]
RunOutcome = Literal["running", "paused", "parked", "stopped", "failed", "finished"]
_OF_A_STAGE = frozenset({"stage_started", "epoch", "validation", "evaluation", "stage_finished", "stage_skipped"})
_STATUS_AFTER: dict[str, StageStatus] = {
    "stage_started": "running",
    "stage_finished": "done",
    "stage_skipped": "skipped",
}


@dataclass(frozen=True)
class StageState:
    """How far a stage is."""

    name: str
    state: StageStatus
    epoch: int
    """Epochs complete."""
    epochs: int
    """Epochs planned."""
    best: float | None
    """Best validation score; lower is better."""
    seconds: float
    """Time spent in the stage, pauses and times without a process left out."""


@dataclass
class _Stage:
    name: str
    epochs: int
    status: StageStatus = "waiting"
    epoch: int = 0
    scores: list[tuple[int, float]] = field(default_factory=list)
    """Best score so far by epoch, so that it can be taken back with the epoch."""
    seconds: float = 0.0
    """Up to `since`."""
    since: float | None = None
    """Time from which the stage has been running without a break."""

    def roll_back(self, epoch: int) -> None:
        """Forget all that lies beyond so many complete epochs."""
        self.epoch = min(self.epoch, epoch)
        self.scores = [(at, best) for at, best in self.scores if at < epoch]

    def stop_clock(self, now: float) -> None:
        if self.since is not None:
            self.seconds += max(0.0, now - self.since)
            self.since = None

    def score(self, epoch: int | None, best: object) -> None:
        if isinstance(best, int | float):
            self.scores.append((self.epoch if epoch is None else epoch, float(best)))


class RunProjection:
    """The sum of a run's events, taken in one by one in their order.

    Steps and heartbeats change nothing but `last_heartbeat` and the clock, so that a reader may leave out all but the
    last of them before another event.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.last_seq = 0
        self.last_time: float | None = None
        self.last_heartbeat: Event | None = None
        self.outcome: RunOutcome | None = None
        """What the run came to by its events alone; None before it has started."""
        self.error: tuple[str, str | None] | None = None
        """Message and hint of a failed run."""
        self.planned: frozenset[str] | None = None
        """Stages of the latest plan, with what commands made of it; None before the run was ever started."""
        self.results: set[str] = set()
        """Results that were ever kept, by name."""
        self._stages: dict[str, _Stage] = {}

    def add(self, event: Event) -> None:
        """Take in the next event; a kind that is not known changes nothing."""
        if event.kind == "heartbeat":
            self.last_heartbeat = event
        elif event.kind.startswith("run_"):
            self._run_event(event)
        elif event.kind in _OF_A_STAGE and event.stage is not None:
            stage = self._stages.setdefault(event.stage, _Stage(event.stage, 0))
            self._stage_event(event, stage)
        elif event.kind == "command":
            self._command(event.data)
        elif event.kind == "checkpoint":
            self.results |= {str(name) for name in event.data.get("files", ())}
        self.last_seq = event.seq
        self.last_time = event.time

    def stages(self, *, in_progress: bool) -> tuple[StageState, ...]:
        """Give the stages in the order planned.

        Args:
            in_progress: whether the run goes on; if not, a stage that has begun waits to be gone on with.
        """
        return tuple(
            StageState(
                name=stage.name,
                state="waiting" if stage.status == "running" and not in_progress else stage.status,
                epoch=stage.epoch,
                epochs=stage.epochs,
                best=stage.scores[-1][1] if stage.scores else None,
                seconds=stage.seconds + (max(0.0, (self.last_time or 0.0) - stage.since) if stage.since else 0.0),
            )
            for stage in self._stages.values()
        )

    @property
    def current_stage(self) -> str | None:
        """The stage that has begun and not come to its end, whether or not the run goes on."""
        begun = [stage.name for stage in self._stages.values() if stage.status in ("running", "failed")]
        return begun[-1] if begun else None

    def waits(self, name: str) -> bool:
        """Whether a stage is to be done, from its beginning."""
        return name in self._stages and self._stages[name].status == "waiting"

    def _command(self, data: Mapping[str, Any]) -> None:
        if data.get("outcome") != "done":
            return
        name, command = str(data.get("stage")), data.get("command")
        if command == "start_stage" and name in self._stages:
            self._stages[name].status = "waiting"
        if self.planned is not None and command in ("start_stage", "skip_stage"):
            self.planned = self.planned | {name} if command == "start_stage" else self.planned - {name}

    def _run_event(self, event: Event) -> None:
        if event.kind in ("run_started", "run_resumed"):
            if event.kind == "run_resumed":
                self._resume(event)
            else:
                self._stages.clear()
                self._plan(event.data)
            self.outcome, self.error = "running", None
            return
        for stage in self._stages.values():
            stage.stop_clock(event.time)
            if event.kind == "run_failed" and stage.status == "running":
                stage.status = "failed"
        if event.kind == "run_paused":
            self.outcome = "paused"
        elif event.kind == "run_finished":
            outcome = event.data.get("outcome")
            self.outcome = outcome if outcome in ("stopped", "parked") else "finished"
        elif event.kind == "run_failed":
            hint = event.data.get("hint")
            self.outcome = "failed"
            self.error = (str(event.data.get("error")), None if hint is None else str(hint))

    def _plan(self, data: Mapping[str, Any]) -> None:
        planned = {}
        for entry in data.get("stages") or []:
            name = str(entry["name"])
            stage = self._stages.get(name) or _Stage(name, 0)
            stage.epochs = _count(entry["epochs"], stage.epochs)
            planned[stage.name] = stage
        if "stages" in data:
            self.planned = frozenset(stage.name for stage in planned.values() if stage.epochs)
        # What a changed plan leaves out but the run has done is kept, in front.
        self._stages = {name: stage for name, stage in self._stages.items() if name not in planned} | planned

    def _resume(self, event: Event) -> None:
        for stage in self._stages.values():
            stage.stop_clock(event.time if self.last_time is None else self.last_time)
        self._plan(event.data)
        going_on = event.data.get("stage")
        for stage in self._stages.values():
            if stage.name == going_on:
                stage.status = "running"
                stage.since = event.time
                stage.roll_back(_count(event.data.get("epoch"), 0))
            elif stage.status in ("running", "failed"):
                stage.status = "waiting"
                stage.roll_back(0)

    def _stage_event(self, event: Event, stage: _Stage) -> None:
        if event.kind in _STATUS_AFTER:
            stage.stop_clock(event.time)
            stage.status = _STATUS_AFTER[event.kind]
        if event.kind == "stage_started":
            stage.since = event.time
            stage.epochs = _count(event.data.get("epochs"), stage.epochs)
            stage.roll_back(event.epoch or 0)
        elif event.kind == "evaluation":
            stage.epoch = stage.epochs
        elif event.kind == "epoch" and event.epoch is not None:
            stage.epoch = event.epoch + 1
        if event.kind in ("epoch", "validation", "stage_finished"):
            stage.score(None if event.kind == "stage_finished" else event.epoch, event.data.get("best"))


def _count(value: object, otherwise: int) -> int:
    """Give a count as the log has it, or what stands when it has none."""
    return value if isinstance(value, int) and 0 <= value < 1 << 53 else otherwise
