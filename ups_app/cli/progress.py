"""Progress of a run in the foreground: plain lines for a batch log, and one live line on a terminal."""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, Self

from ups_app.cli.output import human_seconds
from ups_engine.observer import Observer
from ups_engine.runs.events import Kind

SECONDS_APART = 10.0
"""Between lines of steps in a batch log; epochs and stages have lines of their own."""
DRAWS_APART = 0.2
SCORE = "val nRMSE"
"""What every stage is judged by: a relative error in physical units, on the validation split."""


class Lines(Observer):
    """Prints a line for everything worth one, on stderr, each with the time of day."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._epochs = 0
        self._score: float | None = None
        """Of the latest validation, until its epoch is told."""

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
                self._epochs = data["epochs"]
                length = (
                    "started" if stage == "evaluation" else f"{self._epochs} epoch{'s' if self._epochs != 1 else ''}"
                )
                begins = f", going on in epoch {(epoch or 0) + 1} after step {step}" if epoch or step else ""
                self._print(f"{stage}: {length}{begins}")
            case "step":
                self._step("  ".join([f"{self._place(stage, epoch)} step {step}", *_figures(data)]))
            case "validation":
                self._score = data["score"]
            case "epoch":
                self._epoch("  ".join([self._place(stage, epoch), *self._outcome(epoch or 0, data)]))
                self._score = None
            case "evaluation":
                chosen = data["variants"][data["selected"]]["rollout"]["nrmse"]
                nothing = data["variants"]["persistence"]["rollout"]["nrmse"]
                self._print(
                    f"{stage}: {data['selected']} selected, rollout nRMSE {_figure(chosen)},"
                    f" persistence {_figure(nothing)}"
                )
            case "stage_finished":
                best = "" if stage == "evaluation" else f", best {SCORE} {_figure(data['best'])}"
                why = f"; {data['reason']}" if data.get("reason") else ""
                self._print(f"{stage}: done in {human_seconds(data['seconds'])}{best}{why}")
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

    def _place(self, stage: str | None, epoch: int | None) -> str:
        return f"{stage}: epoch {(epoch or 0) + 1}/{self._epochs}"

    def _outcome(self, epoch: int, data: Mapping[str, Any]) -> list[str]:
        """A finished epoch's loss, its score beside the best one, its rate, and how long the stage may still take."""
        loss, *rest = _figures(data)
        best = data.get("best")
        parts = [loss]
        if self._score is not None and self._score == best:
            parts.append(f"{SCORE} {_figure(best)} (best)")
        elif self._score is not None:
            parts.append(f"{SCORE} {_figure(self._score)} (best {_figure(best)})")
        to_come = self._epochs - epoch - 1
        if to_come > 0 and data.get("seconds"):
            parts.append(f"{human_seconds(data['seconds'] / (epoch + 1) * to_come)} left")
        return parts + rest

    def _epoch(self, text: str) -> None:
        self._print(text)

    def _step(self, text: str) -> None:
        if time.monotonic() - self._last >= SECONDS_APART:
            self._print(text)

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class LiveLine(Lines):
    """The same lines for stages and warnings; epochs and steps share one line that is rewritten."""

    def __exit__(self, *_: object) -> None:
        self._clear()

    def _epoch(self, text: str) -> None:
        self._draw(text)

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


def _figures(data: Mapping[str, Any]) -> list[str]:
    parts = [f"loss {_figure(data.get('loss'))}"]
    if data.get("lr") is not None:
        parts.append(f"lr {_figure(data['lr'])}")
    if data.get("throughput"):
        parts.append(f"{data['throughput']:,.0f} samples/s")
    return parts


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
