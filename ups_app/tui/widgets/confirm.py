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
        Binding("y,enter", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and the two keys."""
        with Vertical(id="confirm"):
            yield Line(self._question)
            yield Line(
                Content.from_markup("\n[@click=screen.answer(True)]y yes[/]    [@click=screen.answer(False)]n no[/]"),
                classes="answers",
            )

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        self.dismiss(yes)
