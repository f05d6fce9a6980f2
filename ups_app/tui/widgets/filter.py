"""The line in which one types what to look for."""

from typing import ClassVar

from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input


class Filter(Input):
    """Hidden until it is opened; tells its text as it is typed. Enter keeps it and goes back, Escape clears it."""

    BINDINGS: ClassVar = [
        Binding("escape", "leave(True)", "clear", show=False),
        Binding("enter,down", "leave(False)", "keep", show=False),
    ]

    class Left(Message):
        """The user is done with it."""

    def __init__(self) -> None:
        super().__init__(placeholder="show only what holds ...", compact=True)
        self.cursor_blink = False  # a blinking cursor talks all night over a slow line
        self.display = False

    def open(self) -> None:
        """Show it and take the keyboard."""
        self.display = True
        self.focus()

    def action_leave(self, clear: bool) -> None:
        """Give the keyboard back; empty, it is hidden again."""
        if clear:
            self.value = ""
        self.display = bool(self.value)
        self.post_message(self.Left())
