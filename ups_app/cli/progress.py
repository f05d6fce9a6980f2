"""Progress of a run in the foreground: plain lines; on a terminal one more at the bottom that is rewritten."""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from math import inf
from typing import Any, Self

from ups_app.cli.output import human_seconds
from ups_app.terminal import shows_unicode, wants_colour
from ups_app.wording import figure, words
from ups_engine.config.schema import TRAINED_STAGES
from ups_engine.pipeline.observer import Observer
from ups_engine.runs.events import Kind

DRAWS_APART = 0.2
_BAR = 24  # cells, where they fit
_SMALLEST_BAR = 8
SCORE = "val error"
"""What every stage is judged by: a relative error of normalised fields, on the validation split."""


class Lines(Observer):
    """Prints a line for everything worth one, on stderr, each with the time of day.

    Args:
        interval: seconds between lines of steps and of slow work; epochs and stages have lines of their own.
        quiet: warnings only.
    """

    def __init__(self, interval: float = 10.0, *, quiet: bool = False) -> None:
        self._interval, self._quiet = inf if quiet else interval, quiet
        self._last = time.monotonic()
        self.epochs = 0
        """Of the stage."""
        self.score: float | None = None
        """Of the latest validation, until its epoch is told."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(
        self, kind: Kind, stage: str | None, epoch: int | None, step: int | None, data: Mapping[str, Any]
    ) -> None:
        """See `Observer.event`."""
        if self._quiet and kind != "warning":
            return
        match kind:
            case "stage_started":
                self.epochs = data["epochs"]
                length = f"{self.epochs} epoch{'s' if self.epochs != 1 else ''}" if _trains(stage) else "started"
                begins = f", going on in epoch {(epoch or 0) + 1} after step {step}" if epoch or step else ""
                self._print(f"{stage}: {length}{begins}")
            case "step":
                self._step(
                    "  ".join([f"{self._place(stage, epoch)} {_step_place(epoch, step, data)}", *_figures(data)])
                )
            case "validation":
                self.score = data["score"]
            case "epoch":
                self._print("  ".join([self._place(stage, epoch), *self._outcome(epoch or 0, data)]))
                self.score = None
            case "evaluation":
                chosen = data["variants"][data["selected"]]["rollout"]["nrmse"]
                nothing = data["variants"]["persistence"]["rollout"]["nrmse"]
                self._print(
                    f"{stage}: {data['selected']} selected, rollout nRMSE {figure(chosen)},"
                    f" persistence {figure(nothing)}"
                )
            case "stage_finished":
                best = f", best {SCORE} {figure(data['best'])}" if _trains(stage) else ""
                why = f"; {data['reason']}" if data.get("reason") else ""
                self._print(f"{stage}: done in {human_seconds(data['seconds'])}{best}{why}")
            case "stage_skipped":
                self._print(f"{stage}: skipped, {data['reason']}")
            case "warning":
                self._print(f"warning: {data['message']}")
            case "command":
                self._print(_command(data))
            case "run_paused":
                self._print("paused")
            case "run_resumed" if data.get("after") == "pause":
                self._print("going on after the pause")
            case _:
                pass

    def notice(self, sentence: str) -> None:
        """See `Observer.notice`."""
        if not self._quiet:
            self._print(sentence)

    def progress(self, what: str, done: int, total: int) -> None:
        """See `Observer.progress`."""
        self._step(f"{what}: {done}/{total}")

    def _place(self, stage: str | None, epoch: int | None) -> str:
        return f"{stage}: epoch {(epoch or 0) + 1}/{self.epochs}"

    def _outcome(self, epoch: int, data: Mapping[str, Any]) -> list[str]:
        """A finished epoch's loss, its score beside the best one, its rate, and how long the stage may still take."""
        loss, *rest = _figures(data)
        best = data.get("best")
        parts = [loss]
        if self.score is not None and self.score == best:
            parts.append(f"{SCORE} {figure(best)} (best)")
        elif self.score is not None:
            parts.append(f"{SCORE} {figure(self.score)} (best {figure(best)})")
        to_come = self.epochs - epoch - 1
        if to_come > 0 and data.get("seconds"):
            parts.append(f"{human_seconds(data['seconds'] / (epoch + 1) * to_come)} left")
        return parts + rest

    def _step(self, text: str) -> None:
        if time.monotonic() - self._last >= self._interval:
            self._print(text)

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


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
        if kind == "step":
            self._step_data = data
            self._bar(stage, epoch, step, self._share(epoch, step))
        elif kind == "epoch":
            self._step_data = {**self._step_data, **data}
            self._bar(stage, epoch, step, ((epoch or 0) + 1) / max(self.epochs, 1))
        else:
            super().event(kind, stage, epoch, step, data)
        if kind == "stage_started":
            self._began, self._step_data, self._drawn = (time.monotonic(), step or 0), {}, 0.0
            self.score = None
        elif kind == "run_paused":
            self._began = None

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


def choose_observer(*, plain: bool, quiet: bool, interval: float) -> Lines:
    """Choose how: nothing but warnings, a live bar on a terminal that can show one, else lines.

    Args:
        plain: lines even on a terminal.
        quiet: warnings only.
        interval: seconds between lines inside epochs.
    """
    if quiet or plain or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return Lines(interval, quiet=quiet)
    return LiveBar()


def _step_place(epoch: int | None, step: int | None, data: Mapping[str, Any]) -> str:
    """The step within its epoch, where the epoch's length is known, else within the stage."""
    size = data.get("epoch_steps")
    return f"step {step}" if not size or step is None else f"step {step - (epoch or 0) * size}/{size}"


def _command(data: Mapping[str, Any]) -> str:
    reason = f", {data['reason']}" if data.get("reason") else ""
    return f"asked to {words(data['command'], data.get('stage'))}: {data['outcome']}{reason}"


def _figures(data: Mapping[str, Any]) -> list[str]:
    parts = [f"loss {figure(data.get('loss'))}"]
    if data.get("lr") is not None:
        parts.append(f"lr {figure(data['lr'])}")
    if data.get("throughput"):
        parts.append(f"{data['throughput']:,.0f} samples/s")
    return parts


def _trains(stage: str | None) -> bool:
    """Whether a stage has a loss and a score."""
    return stage in TRAINED_STAGES


def _drawn_bar(share: float, cells: int) -> str:
    full, empty = "━─" if shows_unicode() else "#-"
    done = round(cells * min(max(share, 0.0), 1.0))
    filled = full * done
    if wants_colour(sys.stderr) and filled:
        filled = f"\033[36m{filled}\033[0m"
    return filled + empty * (cells - done)
