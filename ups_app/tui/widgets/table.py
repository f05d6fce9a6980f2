"""A table that fits its width and changes only the cells that changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.widgets import DataTable

from ups_app.tui.widgets.bars import shortened

Cell: TypeAlias = str | tuple[str, str]
"""A text, or a text and the variable of its colour, such as `warning`."""


@dataclass(frozen=True)
class Column:
    """A column of a `Table`."""

    title: str
    width: int | None = None
    """Cells; None shares what the others leave."""
    right: bool = False


class Table(DataTable[Text]):
    """Rows known by a key; the cursor stays on its row, whatever comes before it.

    Args:
        columns: see `fit`.
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

    @property
    def highlighted(self) -> str | None:
        """The key of the row under the cursor."""
        return self._rows[self.cursor_row][0] if self.cursor_row < len(self._rows) else None

    def fit(self, columns: Sequence[Column]) -> None:
        """Take other columns; the rows follow with the next `put`."""
        if tuple(columns) != self._columns_wanted:
            self._columns_wanted, self._rows = tuple(columns), ()
            self._set_up()

    def put(self, rows: Iterable[tuple[str, Sequence[Cell]]]) -> None:
        """Show rows, each a key and a cell for every column."""
        self._rows = tuple((key, tuple(cells)) for key, cells in rows)
        drawn = {
            key: [self._draw(*pair) for pair in zip(cells, self._fitted(), strict=True)] for key, cells in self._rows
        }
        if list(drawn) == list(self._drawn):
            for key, cells in drawn.items():
                for number, (new, old) in enumerate(zip(cells, self._drawn[key], strict=True)):
                    if new != old or new.style != old.style:
                        self.update_cell(key, str(number), new)
        else:
            self._fill(drawn)
        self._drawn = drawn

    def highlight(self, key: str) -> None:
        """Put the cursor on a row, if it is there."""
        keys = [row for row, _ in self._rows]
        if key in keys:
            self.move_cursor(row=keys.index(key))

    def on_mount(self) -> None:
        """Make the columns."""
        self._set_up()

    def on_resize(self, event: events.Resize) -> None:
        """Share the new width."""
        self._set_up()

    def _set_up(self) -> None:
        key = self.highlighted
        self.clear(columns=True)
        self._drawn = {}
        for number, column in enumerate(self._fitted()):
            title = Text(column.title, justify="right" if column.right else "left")
            self.add_column(title, width=column.width, key=str(number))
        self.put(self._rows)
        if key is not None:
            self.highlight(key)

    def _fitted(self) -> list[Column]:
        columns = self._columns_wanted
        fixed = sum(column.width or 0 for column in columns)
        flexible = sum(column.width is None for column in columns)
        room = self.size.width - self.styles.scrollbar_size_vertical - 2 * self.cell_padding * len(columns) - fixed
        share = max(8, room // flexible) if flexible else 0
        return [Column(column.title, column.width or share, column.right) for column in columns]

    def _draw(self, cell: Cell, column: Column) -> Text:
        text, variable = cell if isinstance(cell, tuple) else (cell, None)
        colour = "" if variable is None else self.app.theme_variables.get(variable, "")
        return Text(
            shortened(text, column.width or 8), style=colour, justify="right" if column.right else "left", no_wrap=True
        )

    def _fill(self, drawn: dict[str, list[Text]]) -> None:
        key = list(self._drawn)[self.cursor_row] if self.cursor_row < len(self._drawn) else None
        self.clear()
        for row, cells in drawn.items():
            self.add_row(*cells, key=row)
        if key is not None:
            self.highlight(key)
