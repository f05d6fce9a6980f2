"""The state of a run as anybody can see it: from its events and its lease, without asking the process."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import Event, EventReader
from ups_engine.runs.lease import HEARTBEAT_LIMIT, owner_of
from ups_engine.runs.owner import Owner
from ups_engine.runs.projection import RunOutcome, RunProjection, StageState

RunStatus = RunOutcome | Literal["waiting", "lost"]
"""`waiting`: made, not begun. `lost`: was running when its process went away; it can be resumed."""

_TIME_TO_BEGIN = 60.0
"""Seconds that a process has to take over a new run; it imports torch meanwhile."""


@dataclass(frozen=True)
class RunState:
    """A run at one moment."""

    run: str
    directory: Path
    state: RunStatus
    stage: str | None
    """The stage under way, or at which the run went out of progress."""
    stages: tuple[StageState, ...]
    planned: frozenset[str] | None
    """Stages of the latest plan, with what commands made of it; None when the run was never started."""
    results: frozenset[str]
    """Results that were ever kept, by name."""
    last_event_seq: int
    """0 without events."""
    lease: Owner | None
    created: float
    """UNIX time."""
    silence: float | None
    """Seconds since the last event."""
    last_heartbeat: Event | None
    error: tuple[str, str | None] | None
    """Message and hint of a failed run."""

    def to_json(self) -> dict[str, Any]:
        """Give what `ups runs show --json` prints."""
        return {
            "run": self.run,
            "directory": str(self.directory),
            "state": self.state,
            "stage": self.stage,
            "stages": [{**vars(stage), "seconds": round(stage.seconds, 3)} for stage in self.stages],
            "last_event_seq": self.last_event_seq,
            "lease": None if self.lease is None else {**self.lease.to_json(), "alive": self.lease.alive},
        }


def summarise(run: RunDirectory) -> RunState:
    """Give the state of a run now; see `StateReader.poll`."""
    return StateReader(run).poll()


class StateReader:
    """Follows a run. It keeps what it knows and reads only what is new, and of that parses only what matters.

    Polling is all it does, as network file systems announce nothing.

    Args:
        run: the run.
        projection: takes in every event that is read; with one, steps are read too (see `EventReader`).
        clock: UNIX time.
    """

    def __init__(
        self, run: RunDirectory, projection: RunProjection | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.run = run
        self._clock = clock
        self._projection = projection or RunProjection()
        self._events = EventReader(run.events, steps=projection is not None)
        self._heard = time.monotonic()
        """When this reader last saw the events grow, by its own clock: the writer's may be another machine's."""
        self._saw_growth = False

    def poll(self) -> RunState:
        """Read what is new and give the state.

        Raises:
            RunError: run.json is missing or damaged, or the events cannot be read.
            FormatError: a newer UPS wrote either.
        """
        self._read()
        record = self.run.record
        silence = self._silence()
        owner = owner_of(self.run, silence=silence)
        state = self._status(owner, silence, record.created)
        if state == "lost":  # or it came to its end, and said so, between the two looks
            self._read()
            state = self._status(owner, silence, record.created)
        projection = self._projection
        return RunState(
            run=self.run.name,
            directory=self.run.path,
            state=state,
            stage=projection.current_stage,
            stages=projection.stages(in_progress=state in ("running", "paused")),
            planned=projection.planned,
            results=frozenset(projection.results),
            last_event_seq=projection.last_seq,
            lease=owner,
            created=record.created,
            silence=silence,
            last_heartbeat=projection.last_heartbeat,
            error=projection.error,
        )

    def _status(self, owner: Owner | None, silence: float | None, created: float) -> RunStatus:
        outcome = self._projection.outcome
        if outcome not in (None, "running", "paused"):
            return outcome
        if owner is not None:
            alive = owner.alive
        elif silence is not None:
            alive = silence < HEARTBEAT_LIMIT
        else:
            alive = self._clock() - created < _TIME_TO_BEGIN
        return (outcome or "waiting") if alive else "lost"

    def _silence(self) -> float | None:
        """Seconds since the last event."""
        if self._projection.last_time is None:
            return None
        unheard = time.monotonic() - self._heard
        return unheard if self._saw_growth else max(unheard, self._clock() - self._projection.last_time)

    def _read(self) -> None:
        if self._events.begins_anew():
            self._projection.clear()
        offset = self._events.offset
        for event in self._events.events():
            # An event whose data are not what the page says is passed over, as a line is that is no event.
            with suppress(TypeError, ValueError, KeyError, AttributeError):
                self._projection.add(event)
        if self._events.offset > offset:
            self._heard, self._saw_growth = time.monotonic(), offset > 0
