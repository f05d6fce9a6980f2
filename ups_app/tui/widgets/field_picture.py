"""A predicted field beside the true one, and how they differ: in half blocks of colour, or shades of plain ASCII."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from ups_app.tui.looks import PlainAscii
from ups_app.tui.widgets.words import short_figure
from ups_engine.evaluation.examples import Examples

Rgb = tuple[int, int, int]
Values = NDArray[np.float64]

LEVELS = 25
"""Colours of a scale: few enough that neighbours are often equal, which is what a slow line is spared."""
SHADES = " .:-=+*#%@"
_NOT_FINITE = "?"
_VIRIDIS: Sequence[Rgb] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
_BLUE, _RED = (67, 147, 235), (235, 90, 70)
_DARK, _LIGHT = (24, 24, 24), (247, 247, 247)
_GAP = 2


@dataclass(frozen=True)
class Choice:
    """What is looked at, by its place in the examples: trajectory, field, and frame, which counts from 2-D on."""

    trajectory: int = 0
    field: int = 0
    frame: int = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """Two pictures to be compared.

    Attributes:
        truth: (h, w).
        prediction: (h, w).
        low: end of their common scale.
        high: its other end.
        most: largest difference, either way, anywhere in the trajectory.
        over_time: whether time goes downward in them, and space across.
    """

    truth: Values
    prediction: Values
    low: float
    high: float
    most: float
    over_time: bool


class FieldPicture(Widget):
    """Truth, prediction and difference side by side: of a line, space against time; of a plane, at one time."""

    DEFAULT_CSS = "FieldPicture { width: 100%; height: 1fr; }"

    _shown: tuple[Examples, Choice] | None = None
    _strips: Sequence[Strip] = ()

    def tell(self, examples: Examples | None, choice: Choice) -> None:
        """Show one of these examples."""
        self._shown = None if examples is None else (examples, choice)
        self._draw()

    def on_resize(self) -> None:
        """Fit the new size."""
        self._draw()

    def notify_style_update(self) -> None:
        """Take the other theme's middle colour."""
        super().notify_style_update()
        self._draw()

    def render_line(self, y: int) -> Strip:
        """One line of the pictures."""
        style = self.visual_style.rich_style
        strip = self._strips[y] if y < len(self._strips) else Strip([])
        return strip.adjust_cell_length(self.size.width, style).apply_style(style)

    def _draw(self) -> None:
        width, height = self.size
        fits = width >= 3 * 8 and height >= 3
        self._strips = self._pictures(scene(*self._shown), width, height) if self._shown and fits else ()
        self.refresh()

    def _pictures(self, seen: Scene, width: int, height: int) -> list[Strip]:
        plain = self.app.no_color or any(isinstance(one, PlainAscii) for one in self.app.get_line_filters())
        across, down = _fit(seen, (width - 2 * _GAP) // 3, height - 2, rows_per_line=1 if plain else 2)
        gap = Segment(" " * _GAP)
        truth, prediction = (resized(values, down, across) for values in (seen.truth, seen.prediction))
        difference = prediction - truth
        if plain:
            pictures = [shades(one, seen.low, seen.high) for one in (truth, prediction)]
            pictures.append(shades(np.abs(difference), 0.0, seen.most))
        else:
            dark = self.app.current_theme.dark
            pictures = [cells(one, seen.low, seen.high, diverging=False, dark=dark) for one in (truth, prediction)]
            pictures.append(cells(difference, -seen.most, seen.most, diverging=True, dark=dark))
        lines = [Strip([*one, gap, *other, gap, *third]) for one, other, third in zip(*pictures, strict=True)]
        scale, most = f"{short_figure(seen.low)} to {short_figure(seen.high)}", short_figure(seen.most)
        of_difference = f"0 to {most}" if plain else f"-{most} to {most}"
        names = ("truth", "prediction", "|difference|" if plain else "difference")
        return [_titles(names, across), *lines, _titles((scale, scale, of_difference), across)]


def scene(examples: Examples, choice: Choice) -> Scene:
    """The pictures of a choice; of a volume the middle plane."""
    pair = [
        array[choice.trajectory, ..., choice.field].astype(np.float64)
        for array in (examples.truth, examples.prediction)
    ]
    with np.errstate(invalid="ignore"):
        differences = np.abs(pair[1] - pair[0])
    low, high = float(pair[0].min()), float(pair[0].max())
    most = float(np.max(differences, initial=0.0, where=np.isfinite(differences)))
    over_time = len(examples.coordinates) == 1
    if not over_time:
        planes = [array[choice.frame].reshape(*array.shape[1:3], -1) for array in pair]
        pair = [array[..., array.shape[-1] // 2] for array in planes]
    return Scene(pair[0], pair[1], low, high, most, over_time)


def _fit(seen: Scene, columns: int, lines: int, *, rows_per_line: int) -> tuple[int, int]:
    """Columns and rows of a picture: all the room for space against time, else as wide to high as the plane is."""
    if seen.over_time:
        return columns, lines * rows_per_line
    high, wide = seen.truth.shape
    scale = min(columns / wide, lines * 2 / high)  # a line is about as high as two columns are wide
    across, halves = max(1, int(wide * scale)), max(2, int(high * scale))
    return across, max(1, halves // 2) * rows_per_line


def _titles(names: tuple[str, ...], width: int) -> Strip:
    return Strip([Segment((" " * _GAP).join(f"{name[:width]:<{width}}" for name in names))])


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
    at = levels(values, low, high, LEVELS).tolist()
    lines = (groupby(zip(upper, lower, strict=True)) for upper, lower in zip(at[0::2], at[1::2], strict=True))
    return [
        Strip([Segment("▀" * len(list(run)), _style(*pair, diverging, dark)) for pair, run in line]) for line in lines
    ]


def shades(values: Values, low: float, high: float) -> list[Strip]:
    """A picture in shades of plain characters, one row of values to a line."""
    at = levels(values, low, high, len(SHADES))
    signs = np.array([*SHADES, _NOT_FINITE])
    return [Strip([Segment("".join(signs[row]))]) for row in at]


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
