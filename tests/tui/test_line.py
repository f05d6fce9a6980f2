"""Widgets that say only what is new."""

from pilots import piloted
from textual.app import App
from textual.content import Content

from ups_app.tui.widgets.bars import shortened
from ups_app.tui.widgets.line import Line
from ups_app.tui.widgets.table import Column, Table


class Bench(App):
    def __init__(self, *widgets):
        super().__init__()
        self._widgets = widgets

    def compose(self):
        yield from self._widgets


async def test_the_same_text_is_not_drawn_again():
    line = Line("a")
    drawn = []
    line.update = lambda content, layout: drawn.append(content.plain)
    line.put("a")
    line.put(Content("b"))
    line.put("b")
    line.put(Content.from_markup("[b]b[/]"))
    line.put("[b]")
    assert drawn == ["b", "b", "[b]"]


def test_long_names_are_cut_in_their_middle():
    assert shortened("burgers1d-20261122-195236", 25) == "burgers1d-20261122-195236"
    short = shortened("burgers1d-20261122-195236", 16)
    assert (len(short), short[:3], short[-6:]) == (16, "bur", "195236")


async def test_a_table_keeps_its_cursor_on_its_row_and_changes_single_cells():
    table = Table([Column("name"), Column("n", 4, "right")])
    async with piloted(Bench(table)) as pilot:
        table.put([("a", ("a", "1")), ("b", ("b", "2"))])
        table.highlight("b")
        await pilot.pause()
        assert table.highlighted == "b"
        table.put([("new", ("new", "0")), ("a", ("a", "1")), ("b", ("b", "2"))])
        await pilot.pause()
        assert table.highlighted == "b"
        changed = []
        table.update_cell = lambda row, column, value: changed.append((row, column, value.plain))
        table.put([("new", ("new", "0")), ("a", ("a", "9")), ("b", ("b", ("2", "warning")))])
        assert changed == [("a", "1", "9"), ("b", "1", "2")]


async def test_a_table_fits_its_width():
    table = Table([Column("name"), Column("n", 4, "right")])
    async with piloted(Bench(table), size=(60, 10)) as pilot:
        table.put([("a", ("x" * 200, "1"))])
        for width in (60, 30, 100):
            await pilot.resize_terminal(width, 10)
            await pilot.pause()
            assert table.virtual_size.width <= width
            assert len(table.get_cell("a", "0").plain) > width // 2


async def test_a_table_takes_text_as_it_is():
    table = Table([Column("name")])
    async with piloted(Bench(table)):
        table.put([("a", ("[red]x[/]",))])
        assert table.get_cell("a", "0").plain == "[red]x[/]"
