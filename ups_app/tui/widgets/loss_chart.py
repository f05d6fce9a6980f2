"""Curves of a stage: drawn seldom enough for a slow line, and only when there is something new."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from textual.content import Content
from textual.timer import Timer

from ups_app.tui.widgets.line import Rows
from ups_app.tui.widgets.plot import Series, blank, chart, letter
from ups_app.tui.widgets.words import count, short_figure
from ups_engine.config.schema import STAGES, TRAINED_STAGES
from ups_engine.runs.curves import Curve, StageCurves

Kind = Literal["loss", "parts", "lr", "grad_norm", "throughput"]
KINDS: Mapping[Kind, str] = {
    "loss": "loss",
    "parts": "parts of the loss",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "throughput": "samples per second",
}
"""What can be drawn, with its name."""
REDRAWN_EVERY = 2.0
"""Seconds between two drawings of the same curves."""
_LINEAR = ("lr", "throughput")
_COLOURS = ("$primary", "$success", "$warning", "$error", "$secondary", "$foreground")


class LossChart(Rows):
    """One kind of curve of one stage, on a logarithmic axis where it spans decades."""

    DEFAULT_CSS = "LossChart { width: 1fr; height: 1fr; }"

    _shown: tuple[str | None, Kind] = None, "loss"
    _series: Sequence[Series] = ()
    _planned: float | None = None
    _drawn: tuple[object, ...] = ()
    """What the last drawing showed."""
    _drawn_at = 0.0
    _timer: Timer | None = None

    def tell(self, stage: str | None, kind: Kind, curves: StageCurves | None, planned: float | None = None) -> None:
        """Show curves: at once when they are others than before, soon when they have grown.

        Args:
            stage: that the curves belong to; None when nothing has begun.
            kind: which of its curves.
            curves: of the stage.
            planned: optimiser steps that the stage will do, where known.
        """
        self._shown, self._series, self._planned = (stage, kind), list(_series(kind, curves)), planned
        if self._drawn[:1] != (self._shown,):
            self.draw()
        elif self._drawn != self._drawing and self._timer is None:
            wait = self._drawn_at + REDRAWN_EVERY - time.monotonic()
            if wait > 0:  # a timer of no time fails in Textual, and nothing would be drawn any more
                self._timer = self.set_timer(wait, self.draw)
            else:
                self.draw()

    @property
    def _drawing(self) -> tuple[object, ...]:
        """What there is to draw; curves that have grown are other arrays."""
        return self._shown, self._planned, [(one.name, id(one.y)) for one in self._series]

    def draw(self) -> None:
        """Draw what was told last."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        width, height = self.size
        if not width or not height:
            return
        self._drawn, self._drawn_at = self._drawing, time.monotonic()
        stage, kind = self._shown
        if stage in STAGES and stage not in TRAINED_STAGES:
            body = blank(f"{stage} trains nothing and has no curves", width, height - 1)
        else:
            body = chart(self._series, width, height - 1, log=kind not in _LINEAR, planned=self._planned)
        self.put([_legend(stage, kind, self._series), *body])


def _series(kind: Kind, curves: StageCurves | None) -> Iterator[Series]:
    if curves is None:
        return
    if kind == "parts":
        for number, (name, curve) in enumerate(curves.components.items()):
            yield Series(name, curve.steps, curve.values, _COLOURS[number % len(_COLOURS)])
        return
    own: Curve = getattr(curves, kind)
    yield Series("training" if kind == "loss" else "now", own.steps, own.values, "$primary")
    if kind == "loss" and len(curves.validation.steps):
        yield Series("validation", curves.validation.steps, curves.validation.values, "$warning", points=True)


def _legend(stage: str | None, kind: Kind, series: Sequence[Series]) -> Content:
    """The stage, what is drawn, and every curve's name and last value."""
    write = count if kind == "throughput" else short_figure
    parts = [Content.from_markup("[b]$stage[/] [$muted]$what[/]", stage=stage or "", what=KINDS[kind])]
    lettered = sum(not one.points for one in series) > 1
    for number, one in enumerate(series):
        if len(one.y):
            sign = "○" if one.points else letter(number) if lettered else "━"
            entry = f"   {sign} {one.name} {write(float(one.y[-1]))}"
            parts.append(Content.styled(entry, one.colour))
    return Content("").join(parts)
