"""Curves drawn with braille dots, eight to a character, and axes around them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray
from textual.content import Content

from ups_app.tui.widgets.axes import Axis, Floats, linear_axis, log_axis, steps_axis, tick_label

_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_LABELS = 8
"""Cells to the left of the axis."""
_LETTERS_APART = 16
_MOST_TICKS = 8
_GRID = "$rule"
_MUTED = "$muted"


@dataclass(frozen=True, eq=False)
class Series:
    """A curve to be drawn.

    Attributes:
        name: in the legend.
        x: (n,) steps, ascending.
        y: (n,) values; those that are not finite, or not positive on a log axis, are left out.
        colour: theme variable.
        points: drawn as single marks, such as for validations, instead of as a line.
    """

    name: str
    x: Floats
    y: Floats
    colour: str
    points: bool = False


def chart(
    series: Sequence[Series],
    width: int,
    height: int,
    *,
    log: bool,
    planned: float | None = None,
    unit: str = "step",
) -> list[Content]:
    """Draw curves over steps.

    Args:
        series: drawn in this order, the later over the earlier.
        width: cells, labels included.
        height: lines, the labels of the steps included.
        log: values on a logarithmic axis; otherwise linear from zero.
        planned: steps in all, where known.
        unit: of the steps.

    Returns:
        `height` lines; a sentence in their middle when there is nothing to draw.
    """
    inner, rows = width - _LABELS - 1, height - 2
    kept = []
    for one in series:
        there = np.isfinite(one.y) & ((one.y > 0) | (not log))
        kept.append(replace(one, x=one.x[there], y=one.y[there]))
    y = np.concatenate([one.y for one in kept]) if kept else np.empty(0)
    if not len(y):
        return blank("nothing to draw yet", width, height)
    if inner < 8 or rows < 2:
        return blank("too small for a chart", width, height)
    y_axis = log_axis(y.min(), y.max()) if log else linear_axis(y.max())
    x_axis = steps_axis(max(one.x[-1] for one in kept if len(one.x)), planned)
    characters, owners = _rasterised(kept, inner, rows, x_axis, y_axis)
    values = y_axis.ticks(min(_MOST_TICKS, max(2, 2 * rows // 5)))
    ticks = dict(zip(_cells(1 - y_axis.places(values), rows), values, strict=True))
    colours = [one.colour for one in kept]
    lines = [_line(characters[row], owners[row], ticks.get(row), colours) for row in range(rows)]
    return [*lines, *_feet(x_axis, inner, unit)]


def blank(sentence: str, width: int, height: int) -> list[Content]:
    """So many lines with a sentence in their middle."""
    lines = [Content("")] * max(height, 1)
    lines[len(lines) // 2] = Content.styled(sentence.center(width), _MUTED)
    return lines


def _rasterised(
    series: Sequence[Series], width: int, height: int, x_axis: Axis, y_axis: Axis
) -> tuple[NDArray[np.str_], NDArray[np.intp]]:
    """Curves drawn into cells: their characters, and the series that each belongs to, the last of several, or -1."""
    characters = np.full((height, width), " ")
    owners = np.full((height, width), -1)
    traces: dict[int, NDArray[np.bool_]] = {}
    for number, one in enumerate(series):
        if not len(one.x):
            continue
        across, down = x_axis.places(one.x), 1 - y_axis.places(one.y)
        if one.points:
            at = _cells(down, height), _cells(across, width)
            characters[at], owners[at] = "○", number
            continue
        dots = line_dots(across * (2 * width - 1), down * (4 * height - 1), 2 * width, 4 * height)
        codes = (dots.reshape(height, 4, width, 2) * _BITS[None, :, None, :]).sum((1, 3))
        there = traces[number] = codes > 0
        characters[there] = [chr(0x2800 + code) for code in codes[there]]
        owners[there] = number
    for number, trace in traces.items() if len(traces) > 1 else ():
        for column in range((5 * number + 3) % _LETTERS_APART, width, _LETTERS_APART):  # each line's at other columns
            rows = np.flatnonzero(trace[:, column])
            if len(rows):
                characters[rows[len(rows) // 2], column] = letter(number)
                owners[rows[len(rows) // 2], column] = number
    return characters, owners


def line_dots(x: Floats, y: Floats, width: int, height: int) -> NDArray[np.bool_]:
    """The dots of a line through points, each column from its lowest to its highest value.

    Args:
        x: (n,) columns, ascending.
        y: (n,) rows.
        width: columns.
        height: rows.

    Returns:
        (height, width).
    """
    edges = np.clip(np.arange(width + 1) - 0.5, x[0], x[-1])
    at_edges = np.interp(edges, x, y)
    lowest, highest = np.minimum(at_edges[:-1], at_edges[1:]), np.maximum(at_edges[:-1], at_edges[1:])
    columns = np.clip(np.rint(x).astype(int), 0, width - 1)
    np.minimum.at(lowest, columns, y)
    np.maximum.at(highest, columns, y)
    rows = np.arange(height)[:, None]
    touched = (np.arange(width) >= columns[0]) & (np.arange(width) <= columns[-1])
    dots: NDArray[np.bool_] = (rows >= np.rint(lowest)) & (rows <= np.rint(highest)) & touched
    return dots


def _cells(places: Floats, count: int) -> NDArray[np.intp]:
    """The nearest of so many cells to each place between 0 and 1."""
    return np.rint(places * (count - 1)).astype(np.intp)


def letter(number: int) -> str:
    """What marks the n-th of several lines, for whoever sees no colours."""
    return ascii_lowercase[number % 26]


def _line(
    characters: NDArray[np.str_], owners: NDArray[np.intp], tick: float | None, colours: Sequence[str]
) -> Content:
    """One row of the plot with its label."""
    if tick is not None:
        characters[(owners < 0)] = "·"
    label = "" if tick is None else tick_label(tick)
    parts = [(f"{label:>{_LABELS - 1}} {'│' if tick is None else '┤'}", _MUTED)]
    starts = [0, *(np.flatnonzero(np.diff(owners)) + 1), len(owners)]
    for start, end in pairwise(starts):
        owner = owners[start]
        parts.append(("".join(characters[start:end]), _GRID if owner < 0 else colours[owner]))
    return Content.assemble(*parts)


def _feet(axis: Axis, width: int, unit: str) -> list[Content]:
    """The axis of steps and its labels."""
    line, labels = ["─"] * width, [" "] * (width + _LABELS + 1)
    free, ticks = 0, axis.ticks(max(2, width // 12))
    for value, at in zip(ticks, _cells(axis.places(ticks), width), strict=True):
        text = tick_label(value)
        start = min(_LABELS + 1 + at - (len(text) - 1) // 2, len(labels) - len(text))
        if start >= free:
            labels[start : start + len(text)] = text
            line[at], free = "┬", start + len(text) + 1
    if free + len(unit) <= len(labels):
        labels[-len(unit) :] = unit
    return [
        Content.assemble((" " * _LABELS + "└" + "".join(line), _MUTED)),
        Content.assemble(("".join(labels), _MUTED)),
    ]
