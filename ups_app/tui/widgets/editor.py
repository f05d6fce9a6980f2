"""Changing one setting, checked as it is typed."""

import asyncio
from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input
from textual.widgets.input import Selection

from ups_app.tui.widgets.fields import Field
from ups_app.tui.widgets.line import Line
from ups_app.tui.widgets.settings_table import explained
from ups_engine.config.paths import nearest, setting

TYPING = 0.15  # s without a key or a change after which what was typed or chosen is looked at


class Editor(Vertical):
    """A line for `KEY=VALUE`, and under it what is wrong with it, or what the setting means.

    Args:
        mistake: tells what is wrong with a key and its text, None for nothing; runs in a thread.
        id: of the widget.
    """

    class Changed(Message):
        """A setting shall have another value."""

        def __init__(self, key: str, text: str) -> None:
            super().__init__()
            self.key = key
            self.text = text

    def __init__(self, mistake: Callable[[str, str], str | None], *, id: str) -> None:
        super().__init__(id=id)
        self._mistake = mistake

    def compose(self) -> ComposeResult:
        """The line and what is said about it."""
        yield Field(placeholder="e edits the highlighted setting", id="assignment")
        yield Line(id="said")

    def edit(self, assignment: str) -> None:
        """Begin with an assignment, its value selected, so that typing replaces it."""
        field = self.query_one(Field)
        field.value = assignment
        field.focus()
        field.selection = Selection(assignment.find("=") + 1, len(assignment))

    def explain(self, path: str | None) -> None:
        """Say what a setting means, unless something is being typed."""
        if path is not None and not self.query_one(Field).value:
            self._say("[$muted]$meaning[/]", meaning=explained(path))

    def suggest(self, wanted: str) -> None:
        """Say that no setting holds a text, and which is the nearest."""
        markup = "[$muted]no setting holds[/] $wanted[$muted]; the nearest is[/] $path"
        self._say(markup, wanted=wanted, path=nearest(wanted))

    @on(Input.Changed)
    @on(Input.Submitted)
    def _typed(self, event: Input.Changed | Input.Submitted) -> None:
        event.stop()
        look = self._look(event.value, take=isinstance(event, Input.Submitted))
        self.run_worker(look, group="look", exclusive=True, exit_on_error=False)

    @on(Field.Left)
    def _left(self) -> None:
        self.query_one(Field).value = ""

    async def _look(self, typed: str, *, take: bool) -> None:
        if not take:
            await asyncio.sleep(TYPING)
        key, equals, text = (part.strip() for part in typed.partition("="))
        if not typed:
            return
        mistake: str | None = f"write KEY=VALUE{'' if setting(key) else f'; the nearest key is {nearest(key)}'}"
        if equals:
            mistake = await asyncio.to_thread(self._mistake, key, text)
        if mistake is not None:
            self._say("[$error]✗ $mistake[/]", mistake=mistake)
        elif take:
            self.query_one(Field).value = ""
            self.post_message(self.Changed(key, text))
        else:
            meaning = explained(key) if setting(key) else "understood as a key of the earlier research code"
            self._say("[$success]✓[/] Enter takes it. [$muted]$meaning[/]", meaning=meaning)

    def _say(self, markup: str, **texts: str) -> None:
        self.query_one("#said", Line).put(Content.from_markup(markup, **texts), layout=False)
