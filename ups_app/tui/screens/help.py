"""Every key, made from the actions of all screens."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from ups_app.tui.actions import COMMON, GO, Action, key_name
from ups_app.tui.widgets.line import Line


class HelpScreen(ModalScreen[None]):
    """The keys of the screen one came from, those of all screens, then the rest.

    Args:
        here: the screen in front.
        actions: of every screen, by its name.
        keys: what the user has remapped.
        read_only: leave out what changes anything.
    """

    BINDINGS: ClassVar = [Binding("escape,q,question_mark,enter", "dismiss", "close")]

    def __init__(
        self, here: str, actions: Mapping[str, Iterable[Action]], keys: Mapping[str, str], *, read_only: bool
    ) -> None:
        super().__init__()
        self._here = here
        self._actions = {
            name: [action for action in own if not (read_only and action.changes)] for name, own in actions.items()
        }
        self._keys = keys

    def compose(self) -> ComposeResult:
        """The groups under each other."""
        with VerticalScroll(id="help"):
            yield Line(Content("\n\n").join(self._groups()))

    def _groups(self) -> list[Content]:
        here = self._actions[self._here]
        everywhere = [action for action in COMMON if action not in GO]
        groups = [
            self._group(f"{self._here}, the screen in front", here),
            Content("\n").join([self._group("everywhere", everywhere), self._digits()]),
            *(
                self._group(name, [action for action in own if action not in here])
                for name, own in self._actions.items()
                if name != self._here
            ),
            _HANDS,
        ]
        return [group for group in groups if group.plain]

    def _digits(self) -> Content:
        """The keys of all screens on one line."""
        keys = " ".join(map(self._key, GO))
        return Content.from_markup("[b]$keys  [/]$names", keys=f"{keys:>8}", names=", ".join(self._actions))

    def _key(self, action: Action) -> str:
        return key_name(self._keys.get(action.id, action.key))

    def _group(self, title: str, actions: list[Action]) -> Content:
        if not actions:
            return Content("")
        lines = [Content.from_markup("[b $primary]$title[/]", title=title)]
        for action in actions:
            asks = " [$muted](asks first)[/]" if action.loses else ""
            line = Content.from_markup(f"[b]$key  [/]$text{asks}", key=f"{self._key(action):>8}", text=action.text)
            lines.append(line)
        return Content("\n").join(lines)


_HANDS = Content.from_markup(
    "[b $primary]moving[/]\n"
    "[b]     tab  [/]to the next part of the screen, shift+tab back\n"
    "[b]  arrows  [/]move in lists and tables; page up, page down, home, end too\n"
    "[$muted]The setting tui.keys gives actions other keys. Leaving this interface leaves every run running.[/]"
)
