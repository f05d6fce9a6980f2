"""Pictures of the terminal as text: the characters, then the styles of every line run by run.

A tenth of the size of an SVG, and its differences can be read. `pytest tests/tui/test_pictures.py --snapshot-update`
makes them anew; look at the difference before it is committed.
"""

from itertools import groupby

from pilots import strips_of
from rich.cells import cell_len
from rich.style import Style
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from ups_app.tui.app import UpsApp


class TextPicture(SingleFileSnapshotExtension):
    """A file for each picture."""

    _file_extension = "txt"
    _write_mode = WriteMode.TEXT


def text_picture(app: UpsApp, *, lines: int | None = None) -> str:
    """What the terminal shows now, or its first lines alone.

    The lines of the screen; a legend of all styles; for every line, or every range of lines that are alike, its styles
    from the left, each with its number of cells.
    """
    width, strips = app.size.width, strips_of(app)[:lines]
    names: dict[str, str] = {}
    rows = []
    for line in strips:
        styled = [(_words(segment.style), segment.cell_length) for segment in line if not segment.control]
        runs = [(style, sum(cells for _, cells in run)) for style, run in groupby(styled, key=lambda part: part[0])]
        rows.append(" ".join(f"{names.setdefault(style, _name(len(names)))}{cells}" for style, cells in runs))
    texts = [line.text for line in strips]
    assert all(cell_len(text) == width for text in texts), "a line has the wrong width"
    legend = [f"{name}  {style}" for style, name in names.items()]
    return "\n".join([*(text.rstrip() for text in texts), "-" * width, *legend, "-" * width, *_ranges(rows), ""])


def _words(style: Style | None) -> str:
    if style is None:
        return "default"
    attributes = [name for name in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, name)]
    colours = [colour.name if colour else "default" for colour in (style.color, style.bgcolor)]
    return " ".join([*attributes, " on ".join(colours)])


def _name(number: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return letters[number] if number < 26 else letters[number // 26 - 1] + letters[number % 26]


def _ranges(rows: list[str]) -> list[str]:
    """Number the rows, those that are alike and follow each other as one."""
    numbered = []
    for row, alike in groupby(enumerate(rows, start=1), key=lambda numbered: numbered[1]):
        numbers = [number for number, _ in alike]
        place = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        numbered.append(f"{place}: {row}")
    return numbered
