"""Lines to type into."""

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input


class Field(Input):
    """A line to type into. Enter tells that it is done, Escape leaves it as it is."""

    BINDINGS: ClassVar = [Binding("escape", "leave", "back", show=False)]

    class Left(Message):
        """The user goes elsewhere."""

    def __init__(self, placeholder: str, id: str | None = None, suggester: Suggester | None = None) -> None:
        super().__init__(placeholder=placeholder, id=id, suggester=suggester, compact=True, select_on_focus=False)
        self.cursor_blink = False  # a blinking cursor talks all night over a slow line

    def action_leave(self) -> None:
        """Give the keyboard back."""
        self.post_message(self.Left())


class Filter(Field):
    """Hidden until it is opened; tells its text as it is typed. Enter keeps it and goes back, Escape clears it."""

    BINDINGS: ClassVar = [
        Binding("escape", "close(True)", "clear", show=False),
        Binding("enter,down", "close(False)", "keep", show=False),
    ]

    def __init__(self) -> None:
        super().__init__("show only what holds ...")
        self.display = False

    def open(self) -> None:
        """Show it and take the keyboard."""
        self.display = True
        self.focus()

    def action_close(self, clear: bool) -> None:
        """Give the keyboard back; empty, it is hidden again."""
        if clear:
            self.value = ""
        self.display = bool(self.value)
        self.action_leave()


class PathSuggester(Suggester):
    """Completes a path that is being typed by the first entry of its folder that goes on like it."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Look it up, beside the interface: the folder may be on a network."""
        return await asyncio.to_thread(_completed, value)


def _completed(typed: str) -> str | None:
    folder, slash, start = typed.rpartition("/")
    if not typed or (not start and not slash):
        return None
    try:
        entries = sorted(Path(f"{folder}{slash}" or ".").expanduser().iterdir())
    except (OSError, RuntimeError):
        return None
    for entry in entries:
        if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
            return f"{folder}{slash}{entry.name}" + ("/" if entry.is_dir() else "")
    return None
