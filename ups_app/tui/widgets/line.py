"""Text that goes to the terminal only when it has changed."""

from textual.content import Content
from textual.widgets import Static


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
