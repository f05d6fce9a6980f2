"""The command palette, made from the actions of the screen in front."""

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from ups_app.tui.looks import THEMES
from ups_app.tui.screens.base import UpsScreen


class Actions(Provider):
    """What can be done on the screen in front and everywhere, a line each; the keys can be learnt from it."""

    async def discover(self) -> Hits:
        """Everything, in the order of the help."""
        for line, command in self._lines():
            yield DiscoveryHit(line, command)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for line, command in self._lines():
            if (score := matcher.match(line)) > 0:
                yield Hit(score, matcher.highlight(line), command, text=line)

    def _lines(self) -> Iterator[tuple[str, IgnoreReturnCallbackType]]:
        screen = self.screen
        if isinstance(screen, UpsScreen):
            for action in screen.actions:
                if action.id != "palette" and screen.check_action(action.id, ()):
                    yield f"{screen.keys[action.id]:>6}  {action.text}", partial(screen.action_act, action.id)
        for name in THEMES:
            yield f"{'':>6}  {name} colours", partial(setattr, self.app, "theme", name)
