"""The first and the last line of every screen: where one is, and what the keys do."""

from textual import events
from textual.content import Content
from textual.style import Style

from ups_app.tui.actions import Action
from ups_app.tui.looks import STATES
from ups_app.tui.screens import SCREENS
from ups_app.tui.widgets.line import Line


class _Bar(Line):
    """A line of texts to click on, drawn anew for every width."""

    def on_resize(self, event: events.Resize) -> None:
        """Fit the new width."""
        self.draw()

    async def on_click(self, event: events.Click) -> None:
        """Do the action under the mouse."""
        if (identity := event.style.meta.get("act")) is not None:
            await self.screen.run_action(f"act('{identity}')")

    def draw(self) -> None:
        """Show what fits the width."""
        raise NotImplementedError


class TopBar(_Bar):
    """UPS, the followed run and its state, and the screens with their digits; a click on one goes there."""

    def __init__(self, here: str) -> None:
        super().__init__()
        self._here = here
        self._run: tuple[str, str] | None = None
        self._read_only = False

    def tell(self, run: tuple[str, str] | None, *, read_only: bool) -> None:
        """Show the followed run's name and state."""
        self._run, self._read_only = run, read_only
        self.draw()

    def draw(self) -> None:
        """The names of the screens give way to the run."""
        width = self.size.width
        if not width:
            return
        tabs = self._tabs(names=True)
        if self._left(width).cell_length + tabs.cell_length + 1 > width:
            tabs = self._tabs(names=False)
        left = self._left(width - tabs.cell_length - 1)
        self.put(Content.assemble(left, " " * max(1, width - left.cell_length - tabs.cell_length), tabs), layout=False)

    def _left(self, room: int) -> Content:
        parts = [Content.from_markup("[b $primary] UPS[/]")]
        if self._read_only:
            parts.append(Content.from_markup(" [$warning]read-only[/]"))
        if self._run is not None:
            name, state = self._run
            sign, colour = STATES.get(state, ("?", "$error"))
            tail = Content.from_markup(f" [{colour}]{sign} {state}[/]")
            taken = sum(part.cell_length for part in parts) + tail.cell_length + 2
            if (for_name := room - taken) >= len(name) or for_name >= _SHORTEST_NAME:
                parts.append(Content(f"  {shortened(name, for_name)}"))
            parts.append(tail)
        return Content("").join(parts)

    def _tabs(self, *, names: bool) -> Content:
        tabs = []
        for digit, name in enumerate(SCREENS, start=1):
            here = name == self._here
            text = f" {digit} {name} " if names or here else f" {digit} "
            style = ("b reverse" if self.app.no_color else "b $background on $primary") if here else "$muted"
            tabs.append(_clickable(Content.from_markup(f"[{style}]{text}[/]"), f"go_{name}"))
        return Content("").join(tabs)


class KeyBar(_Bar):
    """What the keys do here, as far as they fit; the help shows the rest."""

    _entries: tuple[tuple[str, str, str], ...] = ()

    def tell(self, actions: list[tuple[Action, str]], keys: dict[str, str]) -> None:
        """Show actions, each with its label, and with the name of its key out of `keys`."""
        self._entries = tuple((action.id, keys[action.id], label) for action, label in actions)
        self.draw()

    def draw(self) -> None:
        """Help and quit always have room."""
        if not self.size.width:
            return
        parts: list[Content] = []
        room = self.size.width - 1
        last = self._entries[-2:]
        needed = sum(len(key) + len(label) + 3 for _, key, label in last)
        for entry in self._entries:
            identity, key, label = entry
            length = len(key) + len(label) + 3
            if entry in last:
                needed -= length
            elif length > room - needed:
                continue
            room -= length
            content = Content.from_markup("[b $primary]$key[/] $label  ", key=key, label=label)
            parts.append(_clickable(content, identity))
        self.put(Content("").join([Content(" "), *parts]), layout=False)


_SHORTEST_NAME = 8


def shortened(text: str, width: int) -> str:
    """A text in at most so many cells, cut in its middle: names of runs differ at their ends."""
    if len(text) <= width:
        return text
    head = max(1, (width - 1) // 3)
    return f"{text[:head]}…{text[-max(1, width - 1 - head) :]}"


def _clickable(content: Content, identity: str) -> Content:
    """Let a click on a text do an action; unlike a link, it looks as it did."""
    return content.stylize(Style.from_meta({"act": identity}))
