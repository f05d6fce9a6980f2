"""The figures of an evaluation as a table, and their growth over the frames as curves."""

from collections.abc import Sequence
from itertools import cycle
from math import isfinite
from typing import TYPE_CHECKING, Final

import numpy as np
from textual.content import Content

from ups_app.tui.widgets.plot import Series, chart, letter
from ups_app.tui.widgets.rows import Rows
from ups_app.tui.widgets.words import short_figure

if TYPE_CHECKING:
    from ups_engine.evaluation.report import EvaluationReport, Variant

_BASELINE: Final = "persistence"
"""The variant that the others are measured by."""
_COLOURS = ("$success", "$warning", "$primary", "$secondary", "$foreground", "$error")
"""Of the other variants, in the order of the report."""
_COLUMNS = (
    ("one step", "1 step", 7),
    ("rollout", "rollout", 8),
    ("vs pers.", "vs pers", 8),
    ("cRMSE", "cRMSE", 7),
    ("bRMSE", "bRMSE", 7),
    ("fRMSE low", "f low", 7),
    ("mid", "f mid", 7),
    ("high", "f high", 7),
    ("evals", "eval", 5),
    ("ms", "ms", 5),
)
"""Names of the columns, short names, and cells for two figures; three take `_WIDE`."""
_HEAD = "* selected"
_WIDE = 10


class _OfReport(Rows):
    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._report: EvaluationReport | None = None

    def tell(self, report: "EvaluationReport | None") -> None:
        """Show a report."""
        self._report = report
        self.draw()


class Scores(_OfReport):
    """Every variant with all of its scores, the selected one marked."""

    def draw(self) -> None:
        """Put a line for each variant; two figures of each number where three do not fit."""
        report, width = self._report, self.size.width
        if report is None or not width:
            self.put([])
            return
        names = 1 + max(map(len, (_HEAD, *report.variants)))
        wide = width >= names + _WIDE * len(_COLUMNS)
        widths = [_WIDE if wide else narrow for _, _, narrow in _COLUMNS]
        while len(widths) > 1 and names + sum(widths) > width:
            widths.pop()
        heads = [long if wide else short for long, short, _ in _COLUMNS]
        lines = [_row(_HEAD.ljust(names), heads, widths, "$muted")]
        still = report.variants.get(_BASELINE)
        for name, variant in report.variants.items():
            selected = name == report.selected
            numbers = zip(_numbers(variant, still), widths, strict=False)
            cells = [_fitting(number, 3 if wide else 2, cell - 1) for number, cell in numbers]
            cells.append(_milliseconds(variant.milliseconds_per_step))
            title = f"{'*' if selected else ' '}{name}".ljust(names)
            lines.append(_row(title, cells, widths, "b $primary" if selected else ""))
        self.put(lines)


class ErrorByFrame(_OfReport):
    """The rollout's error of every variant, frame by frame, on a logarithmic axis."""

    DEFAULT_CSS = """
    ErrorByFrame { width: 1fr; height: 1fr; }
    """

    def draw(self) -> None:
        """Put the curves and their names."""
        width, height = self.size
        report = self._report
        if report is None or not width or not height:
            self.put([])
            return
        colours = cycle(_COLOURS)
        series = [
            Series(
                name,
                np.arange(len(errors := variant.rollout.nrmse_by_frame), dtype=np.float64)
                + report.protocol.initial_steps,
                np.array(errors, dtype=np.float64),
                "$muted" if name == _BASELINE else next(colours),
            )
            for name, variant in report.variants.items()
        ]
        names = [
            Content.styled(f"   {letter(number)} {one.name}" if len(series) > 1 else f"   {one.name}", one.colour)
            for number, one in enumerate(series)
        ]
        last = float(report.protocol.frames - 1)
        legend = Content.assemble(("nRMSE by frame", "b"), *names)
        self.put([legend, *chart(series, width, height - 1, log=True, planned=last, unit="frame")])


def _numbers(variant: "Variant", still: "Variant | None") -> list[float]:
    rollout, bands = variant.rollout, variant.rollout.frmse
    share = rollout.nrmse / still.rollout.nrmse if still is not None and still.rollout.nrmse > 0 else float("nan")
    return [
        variant.one_step.nrmse,
        rollout.nrmse,
        share,
        rollout.crmse,
        rollout.brmse,
        bands.low,
        bands.mid,
        bands.high,
        float(variant.evaluations_per_step),
    ]


def _fitting(value: float, digits: int, width: int) -> str:
    text = short_figure(value, digits)
    return text if len(text) <= width else short_figure(value, digits - 1)


def _milliseconds(value: float) -> str:
    return "-" if not isfinite(value) else "<0.1" if value < 0.1 else f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _row(name: str, cells: Sequence[str], widths: Sequence[int], style: str) -> Content:
    """As many cells as there are widths."""
    aligned = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
    return Content.styled(f"{name}{aligned}", style)
