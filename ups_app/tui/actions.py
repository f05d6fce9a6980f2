"""What a user can do. Key bindings, footer, command palette and help are all made from these declarations.

A screen declares its own actions beside itself; those that every screen has are here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding
from textual.keys import format_key

from ups_app.tui.screens import SCREENS


@dataclass(frozen=True)
class Action:
    """Something a user can do by a key, the palette or the mouse.

    The screen that declares it has a method `action_<id>`; for one of `COMMON` the application has it.
    """

    id: str
    """Also what `tui.keys` calls it."""
    key: str
    """As Textual names it; several with commas between."""
    label: str
    """In the footer; empty keeps it out of there."""
    text: str
    """In the help and the palette."""
    changes: bool = False
    """Changes a run, a cache or a file: hidden and refused with --read-only."""
    loses: str = ""
    """The question to be asked before it is done, if something is lost then. `{stage}` is filled in."""

    @property
    def call(self) -> str:
        """The action as Textual writes it."""
        return f"switch_mode('{self.id.removeprefix('go_')}')" if self.id.startswith("go_") else self.id


FILTER = Action("filter", "slash", "filter", "show only lines that hold a text")
"""Of every screen with a `Filter`."""
GO = tuple(Action(f"go_{name}", str(digit), "", f"go to {name}") for digit, name in enumerate(SCREENS, start=1))
COMMON = (
    *GO,
    Action("copy", "y", "copy", "copy the highlighted value"),
    Action("picture", "ctrl+s", "", "save a picture of this screen as SVG"),
    Action("palette", "ctrl+p", "palette", "find an action by its name"),
    Action("help", "question_mark", "help", "show every key"),
    Action("quit", "q", "quit", "leave; the run goes on"),
)
"""What every screen has."""


def bindings(actions: Iterable[Action]) -> list[Binding]:
    """Key bindings; each has the action's id, so that `tui.keys` can move it."""
    return [Binding(action.key, action.call, action.text, show=False, id=action.id) for action in actions]


def key_name(key: str) -> str:
    """A key as people write it, such as `?`, `^s`, `enter`."""
    first = key.split(",")[0].strip()
    if first.startswith("ctrl+"):
        return f"^{first.removeprefix('ctrl+')}"
    return {"delete": "del", "escape": "esc", "enter": "enter"}.get(first, format_key(first))
