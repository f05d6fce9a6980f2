"""Curves of a stage: drawn seldom enough for a slow line, and only when there is something new."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from textual.content import Content
from textual.timer import Timer

from ups_app.tui.widgets.line import Rows
from ups_app.tui.widgets.plot import Series, blank, chart, letter
from ups_app.tui.widgets.words import count, short_figure
from ups_engine.config.schema import STAGES, TRAINED_STAGES
from ups_engine.runs.watch import Curve, StageCurves

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


@dataclass(frozen=True, eq=False)
class Charted:
    """What a chart shows.

    Attributes:
        stage: that the curves belong to; None when nothing has begun.
        kind: which of its curves.
        curves: of the stage.
        planned: optimiser steps that the stage will do, where known.
    """

    stage: str | None
    kind: Kind
    curves: StageCurves | None
    planned: float | None = None


class LossChart(Rows):
    """One kind of curve of one stage, on a logarithmic axis where it spans decades."""

    DEFAULT_CSS = "LossChart { width: 1fr; height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._charted = Charted(None, "loss", None)
        self._drawn: Charted | None = None
        self._drawn_at = 0.0
        self._timer: Timer | None = None

    def tell(self, charted: Charted) -> None:
        """Show these curves: at once when they are others than before, soon when they have grown."""
        self._charted = charted
        if self._drawn is None or (charted.stage, charted.kind) != (self._drawn.stage, self._drawn.kind):
            self.draw()
        elif _changed(charted, self._drawn) and self._timer is None:
            wait = self._drawn_at + REDRAWN_EVERY - time.monotonic()
            if wait > 0:  # a timer of no time fails in Textual, and nothing would be drawn any more
                self._timer = self.set_timer(wait, self.draw)
            else:
                self.draw()

    def draw(self) -> None:
        """Draw what was told last."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        width, height = self.size
        if not width or not height:
            return
        charted = self._drawn = self._charted
        self._drawn_at = time.monotonic()
        series = list(_series(charted))
        if charted.stage in STAGES and charted.stage not in TRAINED_STAGES:
            body = blank(f"{charted.stage} trains nothing and has no curves", width, height - 1)
        else:
            body = chart(series, width, height - 1, log=charted.kind not in _LINEAR, planned=charted.planned)
        self.put([_legend(charted, series), *body])


def _changed(charted: Charted, before: Charted) -> bool:
    """Whether what is drawn differs: curves that have grown are other arrays."""
    now, then = ([(one.name, id(one.y)) for one in _series(each)] for each in (charted, before))
    return charted.planned != before.planned or now != then


def _series(charted: Charted) -> Iterator[Series]:
    curves = charted.curves
    if curves is None:
        return
    if charted.kind == "parts":
        for number, (name, curve) in enumerate(curves.components.items()):
            yield Series(name, curve.steps, curve.values, _COLOURS[number % len(_COLOURS)])
        return
    own: Curve = getattr(curves, charted.kind)
    yield Series("training" if charted.kind == "loss" else "now", own.steps, own.values, "$primary")
    if charted.kind == "loss" and len(curves.validation.steps):
        yield Series("validation", curves.validation.steps, curves.validation.values, "$warning", points=True)


def _legend(charted: Charted, series: list[Series]) -> Content:
    """The stage, what is drawn, and every curve's name and last value."""
    write = count if charted.kind == "throughput" else short_figure
    parts: list[Content] = [
        Content.from_markup("[b]$stage[/] [$muted]$what[/]", stage=charted.stage or "", what=KINDS[charted.kind])
    ]
    lettered = sum(not one.points for one in series) > 1
    for number, one in enumerate(series):
        if len(one.y):
            sign = "○" if one.points else letter(number) if lettered else "━"
            entry = f"   {sign} {one.name} {write(float(one.y[-1]))}"
            parts.append(Content.styled(entry, one.colour))
    return Content("").join(parts)
