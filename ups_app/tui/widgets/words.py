"""Figures, times, bars and lists in few characters."""

import math
from collections.abc import Iterable

from textual.content import Content

from ups_app.wording import figure

ONE_LINE = 56
"""Cells from which a panel is a line or two across the screen instead of a column."""
_SEPARATOR = "  "


def short_figure(value: float | None, digits: int = 3) -> str:
    """A loss, rate or error in few characters, a small one as `2e-4`; `-` for one that is none or not finite."""
    if value is None or not math.isfinite(value):
        return figure(None)
    text = f"{value:.{digits - 1}e}" if 0 < abs(value) < 1e-3 else figure(value, digits)
    return text.replace("e-0", "e-").replace("e+0", "e")


def count(value: float | None) -> str:
    """A count or speed with separators."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def clock(seconds: float | None) -> str:
    """A duration as `0:07`, `12:05`, `3:02:05` or `4 d 07 h`; `-` for none."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    total = max(0, round(seconds))
    if total >= 100 * 3600:
        return f"{total // 86400} d {total % 86400 // 3600:02d} h"
    minutes, rest = divmod(total, 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def bar(fraction: float, width: int) -> str:
    """A bar of so many cells, full only when all is done."""
    cells = min(max(fraction, 0.0), 1.0) * width
    full = int(cells)
    half = "╸" if full < width and cells - full >= 0.5 else ""
    return "━" * full + half + "·" * (width - full - len(half))


def labelled(label: str, value: str) -> Content:
    """A figure after its name."""
    return Content.from_markup("[$muted]$label[/] $value", label=label, value=value)


def flowing(items: Iterable[Content], width: int) -> list[Content]:
    """Items one after the other, in as many lines as they take."""
    lines: list[Content] = []
    for item in items:
        if lines and lines[-1].cell_length + len(_SEPARATOR) + item.cell_length <= width:
            lines[-1] = Content.assemble(lines[-1], _SEPARATOR, item)
        else:
            lines.append(item)
    return lines


def heading(text: str) -> Content:
    """The name of a panel."""
    return Content.styled(text, "b $muted")
