"""Arrays as pictures of characters: two colours to a cell, or shades of plain ASCII."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Rgb = tuple[int, int, int]
Values = NDArray[np.float64]

LEVELS = 25
"""Colours of a scale: few enough that neighbours are often equal, which is what a slow line is spared."""
SHADES = " .:-=+*#%@"
_NOT_FINITE = "?"
_VIRIDIS: Sequence[Rgb] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
_BLUE, _RED = (67, 147, 235), (235, 90, 70)
_DARK, _LIGHT = (24, 24, 24), (247, 247, 247)


def levels(values: Values, low: float, high: float, count: int) -> NDArray[np.int64]:
    """Which of so many equal parts of a range each value lies in, the outermost beyond its ends; -1: not finite."""
    width = high - low if high > low else 1.0
    finite = np.isfinite(values)
    scaled = np.clip((np.where(finite, values, low) - low) / width, 0.0, 1.0)
    return np.where(finite, np.minimum((scaled * count).astype(np.int64), count - 1), -1)


def resized(values: Values, rows: int, columns: int) -> Values:
    """A picture of another size: means over what falls together, the nearest value where it grows.

    Args:
        values: (h, w).
        rows: wanted.
        columns: wanted.
    """
    return _resized_rows(_resized_rows(values, rows).T, columns).T


def cells(values: Values, low: float, high: float, *, diverging: bool, dark: bool) -> list[Strip]:
    """A picture in half blocks, two rows of values to a line.

    Args:
        values: (2 n, w).
        low: value of the scale's first colour; those below have it too.
        high: of its last.
        diverging: blue over the background to red, instead of a scale of rising brightness.
        dark: the middle of a diverging scale.
    """
    at = levels(values, low, high, LEVELS)
    return [_line(tuple(upper), tuple(lower), diverging, dark) for upper, lower in zip(at[0::2], at[1::2], strict=True)]


def shades(values: Values, low: float, high: float) -> list[Strip]:
    """A picture in shades of plain characters, one row of values to a line."""
    at = levels(values, low, high, len(SHADES))
    signs = np.array([*SHADES, _NOT_FINITE])
    return [Strip([Segment("".join(signs[row]))]) for row in at]


def _line(upper: tuple[int, ...], lower: tuple[int, ...], diverging: bool, dark: bool) -> Strip:
    segments: list[Segment] = []
    start = 0
    for end in range(1, len(upper) + 1):
        if end == len(upper) or (upper[end], lower[end]) != (upper[start], lower[start]):
            style = _style(int(upper[start]), int(lower[start]), diverging, dark)
            segments.append(Segment("▀" * (end - start), style))
            start = end
    return Strip(segments)


@lru_cache(4 * (LEVELS + 1) ** 2)
def _style(upper: int, lower: int, diverging: bool, dark: bool) -> Style:
    colours = _colours(diverging, dark)
    return Style(color=Color.from_rgb(*colours[upper]), bgcolor=Color.from_rgb(*colours[lower]))


@lru_cache
def _colours(diverging: bool, dark: bool) -> tuple[Rgb, ...]:
    """The colours of all levels, and at the end, that is at -1, the one of what is not finite."""
    anchors = (_BLUE, _DARK if dark else _LIGHT, _RED) if diverging else _VIRIDIS
    places = np.linspace(0, len(anchors) - 1, LEVELS)
    channels = [np.interp(places, range(len(anchors)), [anchor[channel] for anchor in anchors]) for channel in range(3)]
    scale = tuple((int(r), int(g), int(b)) for r, g, b in zip(*channels, strict=True))
    return (*scale, (128, 128, 128))


def _resized_rows(values: Values, rows: int) -> Values:
    edges = np.linspace(0, len(values), rows + 1)
    if rows > len(values):
        return values[((edges[:-1] + edges[1:]) / 2).astype(int)]
    starts = edges[:-1].round().astype(int)
    counts = np.diff([*starts, len(values)])
    means: Values = np.add.reduceat(values, starts, axis=0) / counts[:, None]
    return means
