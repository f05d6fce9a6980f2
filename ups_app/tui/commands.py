"""The command palette, made from the table of actions."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from ups_app.tui.actions import actions_of, common_actions, key_name
from ups_app.tui.looks import THEMES
from ups_app.tui.screens.base import UpsScreen

if TYPE_CHECKING:
    from ups_app.tui.app import UpsApp


class Actions(Provider):
    """What can be done on the screen in front and everywhere, a line each; the keys can be learnt from it."""

    async def discover(self) -> Hits:
        """Everything, in the order of the table."""
        for line, command in self._lines():
            yield DiscoveryHit(line, command)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for line, command in self._lines():
            if (score := matcher.match(line)) > 0:
                yield Hit(score, matcher.highlight(line), command, text=line)

    def _lines(self) -> Iterator[tuple[str, IgnoreReturnCallbackType]]:
        screen, app = self.screen, cast("UpsApp", self.app)
        if isinstance(screen, UpsScreen):
            for action in (*actions_of(screen.NAME), *common_actions()):
                if action.id != "palette" and screen.check_action(action.id, ()):
                    key = key_name(app.keys.get(action.id, action.key))
                    yield f"{key:>6}  {action.text}", partial(screen.action_act, action.id)
        for name in THEMES:
            yield f"{'':>6}  {name} colours", partial(setattr, app, "theme", name)
