"""Text that goes to the terminal only when it has changed."""

from collections.abc import Callable, Sequence

from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Static

Layout = Callable[[int, int], Sequence[Content]]
"""Gives the lines for a width and a height in cells; the height is 0 where the lines decide on it."""


class Line(Static):
    """A Static that repaints only when it is given another text; the line may be slow and the night long."""

    def __init__(self, content: str | Content = "", **options: str | None) -> None:
        self._shown = Content(content) if isinstance(content, str) else content
        super().__init__(self._shown, id=options.get("id"), classes=options.get("classes"))

    def put(self, content: str | Content, *, layout: bool = True) -> None:
        """Show a text; a plain string is taken as it is, without markup.

        Args:
            content: the new text.
            layout: False where the widget's size does not depend on its text, which spares a layout of the screen.
        """
        new = Content(content) if isinstance(content, str) else content
        if not new.is_same(self._shown):
            self._shown = new
            self.update(new, layout=layout)


class Rows(Widget):
    """Lines that are cut, not wrapped, at the widget's width.

    Args:
        layout: gives the lines whenever the size changes; without it those of the last `put` stay.
        id: of the widget.
    """

    DEFAULT_CSS = """
    Rows {
        width: 100%;
        height: auto;
        text-wrap: nowrap;
        text-overflow: clip;
    }
    """

    def __init__(self, layout: Layout | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._layout: Layout = layout or (lambda width, height: self.lines)
        self.lines: tuple[Content, ...] = ()
        """What is shown."""

    def show(self, layout: Layout) -> None:
        """Show what another function lays out from now on."""
        self._layout = layout
        self.draw()

    def put(self, lines: Sequence[Content]) -> None:
        """Show these lines; those that are as they were are not painted again."""
        before, self.lines = self.lines, tuple(lines)
        if len(before) != len(self.lines):
            self.refresh(layout=True)
            return
        changed = [y for y, pair in enumerate(zip(before, self.lines, strict=True)) if not pair[0].is_same(pair[1])]
        if changed:
            self.refresh(*(Region(0, y, max(1, self.size.width), 1) for y in changed))

    def draw(self) -> None:
        """Lay the lines out for the present size."""
        if self.size.width:
            self.put(self._layout(*self.size))

    def render(self) -> Content:
        """All lines as one text."""
        return Content("\n").join(self.lines)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """As many lines as there are at that width; at least one, for what has no size is told of no size."""
        return max(1, len(self._layout(width, 0)))

    def on_resize(self) -> None:
        """Fit the new size."""
        self.draw()
