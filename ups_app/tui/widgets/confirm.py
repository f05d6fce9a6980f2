"""The question before something is lost."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from ups_app.tui.widgets.line import Line


class Confirm(ModalScreen[bool]):
    """Asks one question; y or Enter does it, n or Escape does not."""

    BINDINGS: ClassVar = [
        Binding("y,enter", "dismiss(True)", "yes"),
        Binding("n,escape,q", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and the two keys."""
        with Vertical(id="confirm"):
            yield Line(self._question)
            yield Line(
                Content.from_markup("\n[@click=screen.dismiss(True)]y yes[/]    [@click=screen.dismiss(False)]n no[/]"),
                classes="answers",
            )
