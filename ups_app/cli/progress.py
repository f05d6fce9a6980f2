"""Progress of a run in the foreground: plain lines for a batch log, and one live line on a terminal."""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, Self

from ups_app.cli.output import human_seconds
from ups_engine.pipeline import Observer
from ups_engine.runs.events import Kind

SECONDS_APART = 10.0
"""Between lines of steps in a batch log; epochs and stages have lines of their own."""
DRAWS_APART = 0.2


class Lines(Observer):
    """Prints a line for everything worth one, on stderr."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._epochs: dict[str | None, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(
        self, kind: Kind, stage: str | None, epoch: int | None, step: int | None, data: Mapping[str, Any]
    ) -> None:
        """See `Observer.event`."""
        match kind:
            case "stage_started":
                self._epochs[stage] = data["epochs"]
                begins = f" from epoch {epoch + 1}" if epoch else ""
                self._print(f"{stage}: {data['epochs']} epoch{'s' if data['epochs'] != 1 else ''}{begins}")
            case "step":
                self._step(self._figures(stage, epoch, data))
            case "epoch":
                self._print(self._figures(stage, epoch, data))
            case "stage_finished":
                why = f", {data['reason']}" if data.get("reason") else ""
                self._print(f"{stage}: done in {human_seconds(data['seconds'])}, best {_figure(data['best'])}{why}")
            case "stage_skipped":
                self._print(f"{stage}: skipped, {data['reason']}")
            case "warning":
                self._print(f"warning: {data['message']}")
            case _:
                pass

    def notice(self, sentence: str) -> None:
        """See `Observer.notice`."""
        self._print(sentence)

    def progress(self, what: str, done: int, total: int) -> None:
        """See `Observer.progress`."""
        self._step(f"{what}: {done}/{total}")

    def _figures(self, stage: str | None, epoch: int | None, data: Mapping[str, Any]) -> str:
        parts = [f"{stage}: epoch {(epoch or 0) + 1}/{self._epochs.get(stage, 0)}", f"loss {_figure(data.get('loss'))}"]
        if data.get("best") is not None:
            parts.append(f"best {_figure(data['best'])}")
        if data.get("lr") is not None:
            parts.append(f"lr {_figure(data['lr'])}")
        if data.get("throughput"):
            parts.append(f"{data['throughput']:,.0f} samples/s")
        return "  ".join(parts)

    def _step(self, text: str) -> None:
        if time.monotonic() - self._last >= SECONDS_APART:
            self._print(text)

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        print(text, file=sys.stderr, flush=True)


class LiveLine(Lines):
    """The same lines for stages and warnings; epochs and steps share one line that is rewritten."""

    def __exit__(self, *_: object) -> None:
        self._clear()

    def event(
        self, kind: Kind, stage: str | None, epoch: int | None, step: int | None, data: Mapping[str, Any]
    ) -> None:
        """See `Observer.event`."""
        if kind == "epoch":
            self._draw(self._figures(stage, epoch, data))
        else:
            super().event(kind, stage, epoch, step, data)

    def _step(self, text: str) -> None:
        if time.monotonic() - self._last >= DRAWS_APART:
            self._draw(text)

    def _draw(self, text: str) -> None:
        self._last = time.monotonic()
        width = shutil.get_terminal_size((80, 24)).columns - 1
        print(f"\r{text[:width]}\033[K", end="", file=sys.stderr, flush=True)

    def _print(self, text: str) -> None:
        self._clear()
        super()._print(text)

    def _clear(self) -> None:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
