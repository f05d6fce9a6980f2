"""Progress of a run in the foreground: on a terminal one line at the bottom that is rewritten, else plain lines."""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

from ups_app.cli.lines import Lines, Warnings
from ups_app.cli.output import human_seconds
from ups_app.terminal import shows_unicode, wants_colour
from ups_app.wording import figure
from ups_engine.runs.events import Kind

DRAWS_APART = 0.2
_BAR = 24  # cells, where they fit
_SMALLEST_BAR = 8


def choose_observer(*, plain: bool, quiet: bool, interval: float) -> Lines:
    """Choose how: nothing but warnings, a live bar on a terminal that can show one, else lines.

    Args:
        plain: lines even on a terminal.
        quiet: warnings only.
        interval: seconds between lines inside epochs.
    """
    if quiet:
        return Warnings()
    if plain or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return Lines(interval)
    return LiveBar()


class LiveBar(Lines):
    """Lines for stages and warnings; below them a bar for the epochs and steps of the stage, with its latest figures.

    Nothing but text, carriage returns and "erase to the end of the line" is written, a few hundred bytes a second.
    """

    def __init__(self) -> None:
        super().__init__(interval=0.0)
        self._drawn = 0.0
        self._began: tuple[float, int] | None = None
        """Time and step since which the stage has been training without a break."""
        self._step_data: Mapping[str, Any] = {}

    def __exit__(self, *_: object) -> None:
        self._clear()

    def event(
        self, kind: Kind, stage: str | None, epoch: int | None, step: int | None, data: Mapping[str, Any]
    ) -> None:
        """See `Observer.event`."""
        match kind:
            case "stage_started":
                self._began, self._step_data, self._drawn = (time.monotonic(), step or 0), {}, 0.0
                self.score = None
                super().event(kind, stage, epoch, step, data)
            case "step":
                self._step_data = data
                self._bar(stage, epoch, step, self._share(epoch, step))
            case "validation":
                self.score = data["score"]
            case "epoch":
                self._step_data = {**self._step_data, **data}
                self._bar(stage, epoch, step, ((epoch or 0) + 1) / max(self.epochs, 1))
            case "run_paused":
                super().event(kind, stage, epoch, step, data)
                self._began = None
            case _:
                super().event(kind, stage, epoch, step, data)

    def progress(self, what: str, done: int, total: int) -> None:
        """See `Observer.progress`."""
        if self._due():
            self._draw(f"{what}: {done}/{total}", done / max(total, 1), [])

    def _share(self, epoch: int | None, step: int | None) -> float:
        """Of the stage that is done."""
        size = self._step_data.get("epoch_steps")
        return (step or 0) / (size * self.epochs) if size else (epoch or 0) / max(self.epochs, 1)

    def _bar(self, stage: str | None, epoch: int | None, step: int | None, share: float) -> None:
        if not self._due():
            return
        data, now = self._step_data, time.monotonic()
        if self._began is None:  # goes on after a pause
            self._began = (now, step or 0)
        parts = [f"loss {figure(data.get('loss'))}"]
        if self.score is not None:
            parts.append(f"val {figure(self.score)}")
        since, first = self._began
        done_since = share * (step - first) / step if step else 0.0
        if done_since > 0 and share < 1:
            parts.append(f"{human_seconds((now - since) / done_since * (1 - share))} left")
        if data.get("throughput"):
            parts.append(f"{data['throughput']:,.0f} samples/s")
        self._draw(f"{stage} {(epoch or 0) + 1}/{self.epochs}", share, parts)

    def _due(self) -> bool:
        return time.monotonic() - self._drawn >= DRAWS_APART

    def _draw(self, place: str, share: float, parts: list[str]) -> None:
        """Rewrite the line: the place, the bar, and as many parts as fit."""
        self._drawn = time.monotonic()
        width = shutil.get_terminal_size((80, 24)).columns - 1
        percent = f"{100 * min(share, 1.0):3.0f} %"
        room = width - len(place) - len(percent) - 2
        while parts and room - sum(len(part) + 2 for part in parts) < _SMALLEST_BAR:
            parts = parts[:-1]
        cells = min(_BAR, room - sum(len(part) + 2 for part in parts))
        bar = [_drawn_bar(share, cells)] if cells >= _SMALLEST_BAR else []
        text = "  ".join([" ".join([place, *bar, percent]), *parts])
        if not bar:
            text = text[:width]
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)

    def _print(self, text: str) -> None:
        self._clear()
        super()._print(text)

    def _clear(self) -> None:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _drawn_bar(share: float, cells: int) -> str:
    full, empty = "━─" if shows_unicode() else "#-"
    done = round(cells * min(max(share, 0.0), 1.0))
    filled = full * done
    if wants_colour(sys.stderr) and filled:
        filled = f"\033[36m{filled}\033[0m"
    return filled + empty * (cells - done)
