"""The voice of a run in its own process: every event and every sentence goes through here."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ups_engine.announce import vital_signs
from ups_engine.errors import RunError
from ups_engine.observer import Observer
from ups_engine.runs.events import EventWriter, Kind


class Announcer:
    """Writes events and tells the observer.

    Args:
        events: of the run.
        observer: hears every event, sentence and progress.
    """

    def __init__(self, events: EventWriter, observer: Observer) -> None:
        self._events, self._observer = events, observer
        self.stage: str | None = None
        """The stage that warnings and failures belong to."""
        self._cache: Mapping[str, object] | None = None
        self._throughput: float | None = None
        self._activity: Mapping[str, object] | None = None

    def emit(
        self,
        kind: Kind,
        *,
        stage: str | None = None,
        epoch: int | None = None,
        step: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an event; see `ups_engine.runs.events`."""
        data = data or {}
        if kind != "checkpoint":
            self._activity = None
        if kind == "step":
            self._throughput = data.get("throughput")
        elif kind in ("stage_started", "run_paused"):
            self._throughput = None
        self._events.emit(kind, stage=stage, epoch=epoch, step=step, data=data)
        self._observer.event(kind, stage, epoch, step, data)

    def warn(self, message: str) -> None:
        """Write a warning."""
        self.emit("warning", stage=self.stage, data={"message": message})

    def notice(self, sentence: str) -> None:
        """Say what was found, chosen or made."""
        self._observer.notice(sentence)

    def progress(self, what: str, done: int, total: int) -> None:
        """Say how far work outside the step loop is."""
        self._activity = {"what": what, "done": done, "total": total}
        self._observer.progress(what, done, total)

    def last_word(self, kind: Kind, data: Mapping[str, object]) -> None:
        """Write how the run ended, if that is possible still."""
        with suppress(RunError):  # of two errors, such as on a full disk, the first is the one to tell
            self.emit(kind, stage=self.stage, data=data)

    def caches(self, facts: Mapping[str, object]) -> None:
        """Say at once what is known of the latent caches; see heartbeats on the page of `ups_engine.runs.events`."""
        self._cache = facts
        self.emit("heartbeat", data=self.heartbeat())

    def heartbeat(self) -> Mapping[str, object]:
        """The data of a heartbeat now."""
        told = {"cache": self._cache, "activity": self._activity}
        return vital_signs(self._throughput) | {name: value for name, value in told.items() if value is not None}
