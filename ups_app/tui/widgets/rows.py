"""Lines of which only those that have changed go to the terminal."""

from collections.abc import Sequence

from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget


class Rows(Widget):
    """Lines that are cut, not wrapped, at the widget's width.

    A subclass draws itself by `put` in `draw`, which is called when the size changes and when it asks for it.
    """

    DEFAULT_CSS = """
    Rows {
        width: 100%;
        height: auto;
        text-wrap: nowrap;
        text-overflow: clip;
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Content, ...] = ()

    @property
    def lines(self) -> tuple[Content, ...]:
        """What is shown."""
        return self._lines

    def put(self, lines: Sequence[Content]) -> None:
        """Show these lines; those that are as they were are not painted again."""
        before, self._lines = self._lines, tuple(lines)
        if len(before) != len(self._lines):
            self.refresh(layout=True)
            return
        changed = [y for y, pair in enumerate(zip(before, self._lines, strict=True)) if not _same(*pair)]
        if changed:
            self.refresh(*(Region(0, y, max(1, self.size.width), 1) for y in changed))

    def draw(self) -> None:
        """Put the lines for the present size."""

    def render(self) -> Content:
        """All lines as one text."""
        return Content("\n").join(self._lines)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """As many as there are lines; at least one, for what has no size is told of no size."""
        return max(1, len(self._lines))

    def on_resize(self) -> None:
        """Fit the new size."""
        self.draw()


class Pages(Rows):
    """Rows that a subclass lays out for a width in `_page`, and that take the height they then need."""

    def draw(self) -> None:
        """Lay the rows out for the present width."""
        self.put(self._page(self.size.width))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """As many lines as the rows take at that width."""
        return len(self._page(width))

    def _page(self, width: int) -> list[Content]:
        """The rows at a width in cells."""
        return []


def _same(one: Content, other: Content) -> bool:
    return one.plain == other.plain and one.spans == other.spans
