"""The figures of an evaluation as a table, and their growth over the frames as curves."""

from collections.abc import Sequence
from itertools import cycle
from math import isfinite

import numpy as np
from textual.content import Content

from ups_app.tui.widgets.plot import Series, chart, letter
from ups_app.tui.widgets.words import short_figure
from ups_engine.evaluation.report import PERSISTENCE, EvaluationReport, Variant

_COLOURS = ("$success", "$warning", "$primary", "$secondary", "$foreground", "$error")
"""Of the other variants, in the order of the report."""
_COLUMNS = (
    ("one step", "1 step", 7),
    ("rollout", "rollout", 8),
    ("vs pers.", "vs pers", 8),
    ("RMSE/std", "/std", 7),
    ("cRMSE", "cRMSE", 7),
    ("bRMSE", "bRMSE", 7),
    ("evals", "eval", 5),
    ("ms", "ms", 5),
    ("f low", "f low", 7),
    ("f mid", "f mid", 7),
    ("f high", "f high", 7),
)
"""Names of the columns, short names, and cells for two figures; three take `_WIDE`. The last ones go first."""
_HEAD = "* selected"
_WIDE = 9


def scores(report: EvaluationReport | None, field: str | None, width: int, height: int) -> list[Content]:
    """A line for each variant, the selected one marked; two figures of each number where three do not fit.

    What has a unit is that of the field named, or of the only one.
    """
    if report is None:
        return []
    names = 1 + max(map(len, (_HEAD, *report.variants)))
    wide = width >= names + _WIDE * len(_COLUMNS)
    widths = [_WIDE if wide else narrow for _, _, narrow in _COLUMNS]
    while len(widths) > 1 and names + sum(widths) > width:
        widths.pop()
    heads = [long if wide else short for long, short, _ in _COLUMNS]
    lines = [_row(_HEAD.ljust(names), heads, widths, "$muted")]
    still = report.variants.get(PERSISTENCE)
    for name, variant in report.variants.items():
        selected = name == report.selected
        digits = 3 if wide else 2
        cells = [
            _milliseconds(number) if head == "ms" else _fitting(number, digits, cell - 1)
            for number, head, cell in zip(_numbers(variant, still, field), heads, widths, strict=False)
        ]
        title = f"{'*' if selected else ' '}{name}".ljust(names)
        lines.append(_row(title, cells, widths, "b $primary" if selected else ""))
    return lines


def error_by_frame(report: EvaluationReport, width: int, height: int) -> list[Content]:
    """The rollout's error of every variant, frame by frame, on a logarithmic axis, under their names."""
    colours = cycle(_COLOURS)
    series = []
    for name, variant in report.variants.items():
        errors = np.array(variant.rollout.nrmse_by_frame, dtype=np.float64)
        frames = np.arange(len(errors), dtype=np.float64) + report.protocol.initial_steps
        series.append(Series(name, frames, errors, "$muted" if name == PERSISTENCE else next(colours)))
    names = [
        Content.styled(f"   {letter(number)} {one.name}" if len(series) > 1 else f"   {one.name}", one.colour)
        for number, one in enumerate(series)
    ]
    last = float(report.protocol.frames - 1)
    legend = Content.assemble(("nRMSE by frame", "b"), *names)
    return [legend, *chart(series, width, height - 1, log=True, planned=last, unit="frame")]


def _numbers(variant: Variant, still: Variant | None, field: str | None) -> list[float]:
    rollout = variant.rollout
    own = rollout.fields.get(field or "") or next(iter(rollout.fields.values()), None)
    nan = float("nan")
    means, bands = ((own.crmse, own.brmse), vars(own.frmse).values()) if own else ((nan,) * 2, (nan,) * 3)
    share = rollout.nrmse / still.rollout.nrmse if still is not None and still.rollout.nrmse > 0 else nan
    return [
        variant.one_step.nrmse,
        rollout.nrmse,
        share,
        rollout.rmse_over_std,
        *means,
        float(variant.evaluations_per_step),
        variant.milliseconds_per_step,
        *bands,
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
