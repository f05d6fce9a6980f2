"""The application: its screens, its looks, and what keys do on all of them."""

import asyncio
import shlex
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.filter import LineFilter, NoColor

from ups_app.tui import registry
from ups_app.tui.actions import COMMON, bindings
from ups_app.tui.commands import Actions
from ups_app.tui.looks import PlainAscii, themes
from ups_app.tui.screens import SCREENS
from ups_app.tui.screens.base import UpsScreen
from ups_app.tui.screens.help import HelpScreen
from ups_app.tui.session import LOOKS_APART, Session
from ups_app.wording import short_reference
from ups_engine.config.layers import ResolvedSettings
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import LIVE


class UpsApp(Session):
    """`ups tui`.

    Args:
        resolved: the settings of the working folder.
        run: to follow from the start.
        screen: to begin with; the dashboard of the run or, without one, the list of runs.
        read_only: offer nothing that changes a run or a file.
        theme: over `tui.theme`.
        ascii: show nothing but ASCII.
        few_colours: the terminal has sixteen.
        clock: UNIX time; for pictures that do not change.

    Raises:
        SettingsError: `tui.keys` holds a mistake.
    """

    TITLE = "UPS"
    CSS_PATH = sorted((Path(__file__).parent / "styles").glob("*.tcss"))
    BINDINGS: ClassVar[list[Any]] = bindings(COMMON)
    COMMANDS: ClassVar[set[Any]] = {Actions}
    NOTIFICATION_TIMEOUT = 6

    def __init__(
        self,
        resolved: ResolvedSettings,
        run: RunDirectory | None = None,
        *,
        screen: str | None = None,
        read_only: bool = False,
        theme: str | None = None,
        ascii: bool = False,
        few_colours: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(resolved, registry.keymap(resolved.settings.tui.keys), read_only, clock)
        self.first_screen = screen or ("runs" if run is None else "dashboard")
        self.animation_level = "none"
        self._first_run = run
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._own_filters: list[LineFilter] = [PlainAscii()] if ascii else []
        for look in themes(few_colours=few_colours):
            self.register_theme(look)
        self.theme = theme or resolved.settings.tui.theme
        self.set_keymap(self.keys)
        for name in SCREENS:
            self.add_mode(name, partial(registry.make_screen, name))

    def on_mount(self) -> None:
        """Begin: the followed run's dashboard, or the list of runs."""
        self._own_loop = asyncio.get_running_loop()
        if self._first_run is not None:
            self.follow(self._first_run)
        self.switch_mode(self.first_screen)
        self.set_interval(LOOKS_APART, self.look)

    def deliver(self) -> None:
        """Hand what is known of the followed run to the screen in front, whatever lies over it."""
        screen = self.screen_stack[0] if self.screen_stack else None
        if isinstance(screen, UpsScreen):
            screen.deliver()

    def get_line_filters(self) -> list[LineFilter]:
        """Add plain ASCII; under NO_COLOR take every colour away, not only the hue."""
        filters = [_NO_COLOUR] if self.no_color else super().get_line_filters()
        return [*filters, *self._own_filters]

    def action_palette(self) -> None:
        """Open the command palette."""
        self.action_command_palette()

    def action_copy(self) -> None:
        """Copy what the screen in front has highlighted."""
        if isinstance(self.screen, UpsScreen):
            self.screen.action_copy()

    def action_picture(self) -> None:
        """Save the screen as SVG into the working folder."""
        path = Path(f"ups-{self.current_mode}-{time.strftime('%Y%m%d-%H%M%S')}.svg")
        try:
            path.write_text(self.export_screenshot(), "utf-8")
        except OSError as problem:
            self.tell(f"cannot write {path}: {problem.strerror}", problem=True)
        else:
            self.tell(f"saved {path}")

    def action_help(self) -> None:
        """Show every key."""
        if isinstance(self.screen, UpsScreen):
            actions = registry.all_actions()
            self.push_screen(HelpScreen(self.screen.NAME, actions, self.keys, read_only=self.read_only))

    def leave(self) -> None:
        """Leave, from a signal handler."""
        if self._own_loop is not None:
            self._own_loop.call_soon_threadsafe(self.exit)

    def farewell(self) -> str | None:
        """What to tell in the terminal after leaving: whether the run goes on, and how to come back."""
        if self.followed is None:
            return None
        run, state = self.followed, None if self.view is None else self.view.state.state
        sentence = f"{run.name} goes on" if state in LIVE else f"{run.name} is {state or 'where it was'}"
        return f"{sentence}; come back with: ups tui {shlex.quote(short_reference(run, self.root))}"


_NO_COLOUR = NoColor()
