"""Who listens to a run in its own process."""

from collections.abc import Mapping
from typing import Any

from ups_engine.runs.events import Kind


class Observer:
    """Hears what a run in this process does; for progress on the terminal. Does nothing by itself."""

    def event(
        self, kind: Kind, stage: str | None, epoch: int | None, step: int | None, data: Mapping[str, Any]
    ) -> None:
        """An event was written."""

    def notice(self, sentence: str) -> None:
        """The run says what it found, chose or made."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Work outside the step loop goes on."""
