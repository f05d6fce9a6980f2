"""A table that fits its width and changes only the cells that changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from rich.console import JustifyMethod
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.widgets import DataTable

from ups_app.tui.widgets.bars import shortened

_NARROWEST = 8
Cell: TypeAlias = str | tuple[str, str]
"""A text, or a text and the variable of its colour, such as `warning`."""


@dataclass(frozen=True)
class Column:
    """A column of a `Table`."""

    title: str
    width: int | None = None
    """Cells; None is as wide as its longest text so far, where there is room."""
    justify: JustifyMethod = "left"


class Table(DataTable[Text]):
    """Rows known by a key; the cursor stays on its row, whatever comes before it.

    Args:
        columns: what they are until `put` is given others.
        id: of the widget.
    """

    BINDINGS: ClassVar = [
        Binding("home", "scroll_top", "first row", show=False),
        Binding("end", "scroll_bottom", "last row", show=False),
    ]

    def __init__(self, columns: Sequence[Column], id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False)
        self._columns_wanted = tuple(columns)
        self._rows: tuple[tuple[str, tuple[Cell, ...]], ...] = ()
        self._drawn: dict[str, list[Text]] = {}
        self._fitted: tuple[int, ...] = ()
        self._longest: dict[Column, int] = {}

    @property
    def highlighted(self) -> str | None:
        """The key of the row under the cursor."""
        return self._rows[self.cursor_row][0] if 0 <= self.cursor_row < len(self._rows) else None

    def put(self, rows: Iterable[tuple[str, Sequence[Cell]]], columns: Sequence[Column] | None = None) -> None:
        """Show rows, each a key and a cell for every column, under the columns there are or under others."""
        self._rows = tuple((key, tuple(cells)) for key, cells in rows)
        if columns is not None and tuple(columns) != self._columns_wanted:
            self._columns_wanted, self._fitted = tuple(columns), ()
        self._show()

    def highlight(self, key: str) -> None:
        """Put the cursor on a row, if it is there."""
        keys = [row for row, _ in self._rows]
        if key in keys:
            self.move_cursor(row=keys.index(key))

    def on_resize(self, event: events.Resize) -> None:
        """Share the new width, and bring the cursor into view."""
        self._fitted = ()
        self._show()

    def _widths(self) -> tuple[int, ...]:
        """Fixed widths as wanted; the others as their texts need, the longest giving way where room is short."""
        columns = self._columns_wanted
        for number, column in enumerate(columns):
            texts = [cells[number] for _, cells in self._rows]
            lengths = [len(text if isinstance(text, str) else text[0]) for text in texts]
            self._longest[column] = max([self._longest.get(column, len(column.title)), *lengths])
        room = self.size.width - self.styles.scrollbar_size_vertical - 2 * self.cell_padding * len(columns)
        room -= sum(column.width or 0 for column in columns)
        flexible = sorted((c for c in columns if c.width is None), key=lambda c: self._longest[c])
        widths = {}
        for left, column in zip(range(len(flexible), 0, -1), flexible, strict=True):
            widths[column] = max(_NARROWEST, min(self._longest[column], room // left))
            room -= widths[column]
        return tuple(column.width or widths[column] for column in columns)

    def _show(self) -> None:
        """Draw what changed: all columns where a width has, all rows where others are there, else single cells."""
        before = list(self._drawn)
        key = before[self.cursor_row] if self.cursor_row < len(before) else None
        if (widths := self._widths()) != self._fitted:
            self.clear(columns=True)
            self._drawn, self._fitted = {}, widths
            for number, (column, width) in enumerate(zip(self._columns_wanted, widths, strict=True)):
                self.add_column(Text(column.title, justify=column.justify), width=width, key=str(number))
        drawn = {key: list(map(self._draw, cells, self._columns_wanted, self._fitted)) for key, cells in self._rows}
        if list(drawn) == list(self._drawn):
            for row, cells in drawn.items():
                for number, (new, old) in enumerate(zip(cells, self._drawn[row], strict=True)):
                    if new != old or new.style != old.style:
                        self.update_cell(row, str(number), new)
        else:
            self.clear()
            for row, cells in drawn.items():
                self.add_row(*cells, key=row)
            if key is not None:
                self.highlight(key)
        self._drawn = drawn

    def _draw(self, cell: Cell, column: Column, width: int) -> Text:
        text, variable = cell if isinstance(cell, tuple) else (cell, None)
        colour = "" if variable is None else self.app.theme_variables.get(variable, "")
        return Text(shortened(text, width), style=colour, justify=column.justify, no_wrap=True)
