"""The application: which run is followed, which screen is in front, and what keys and commands do."""

import asyncio
import importlib
import shlex
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

from textual.app import App
from textual.filter import LineFilter, NoColor

from ups_app.tui import actions, process
from ups_app.tui.actions import SCREENS, common_actions
from ups_app.tui.commands import Actions
from ups_app.tui.looks import PlainAscii, themes
from ups_app.tui.messages import Answered, Unanswered
from ups_app.tui.screens.base import UpsScreen
from ups_app.tui.screens.help import HelpScreen
from ups_app.tui.widgets.confirm import Confirm
from ups_engine.config.layers import ResolvedSettings
from ups_engine.errors import RunError
from ups_engine.formats import FormatError
from ups_engine.runs.commands import CommandKind
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import LIVE, await_answer, request
from ups_engine.runs.watch import RunView, Watcher

_LOOKS_APART = 0.5  # seconds
_PATIENCE = 60.0  # seconds for a run's answer


class UpsApp(App[None]):
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
    """

    TITLE = "UPS"
    CSS_PATH = sorted((Path(__file__).parent / "styles").glob("*.tcss"))
    BINDINGS: ClassVar[list[Any]] = actions.bindings(common_actions())
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
        super().__init__()
        self.resolved = resolved
        self.root = Path(resolved.settings.runs.root)
        self.followed: RunDirectory | None = None
        self.read_only = read_only
        self.clock = clock
        self.keys = actions.keymap(resolved.settings.tui.keys)
        self.animation_level = "none"
        self._first = run, screen
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._watcher: Watcher | None = None
        self._version: int | None = None
        self._problem: str | None = None
        self._own_filters: list[LineFilter] = [PlainAscii()] if ascii else []
        for look in themes(few_colours=few_colours):
            self.register_theme(look)
        self.theme = theme or resolved.settings.tui.theme
        self.set_keymap(self.keys)
        for name in SCREENS:
            self.add_mode(name, partial(_make_screen, name))

    @property
    def view(self) -> RunView | None:
        """What is known of the followed run; None while it is read for the first time."""
        return None if self._watcher is None else self._watcher.view

    @property
    def caught_up(self) -> bool:
        """Whether the screens have been given what is known of the followed run."""
        return self.followed is None or (self.view is not None and self.view.version == self._version)

    def on_mount(self) -> None:
        """Begin: the followed run's dashboard, or the list of runs."""
        self._own_loop = asyncio.get_running_loop()
        run, screen = self._first
        if run is not None:
            self.follow(run)
        self.go(screen or ("runs" if run is None else "dashboard"))
        self.set_interval(_LOOKS_APART, self._look)

    def on_unmount(self) -> None:
        """Stop reading and end the commands under way; runs go on."""
        if self._watcher is not None:
            self._watcher.close()
        process.end_all()

    def follow(self, run: RunDirectory) -> None:
        """Follow another run from now on."""

        if self._watcher is not None:
            Thread(target=self._watcher.close, daemon=True).start()  # it may be in the middle of a long look
        self.followed, self._version, self._problem = run, None, None
        self._watcher = Watcher(run, clock=self.clock)
        self._watcher.start()
        self._deliver()

    def go(self, name: str) -> None:
        """Bring a screen to the front."""
        self.switch_mode(name)

    def command(self, kind: CommandKind, stage: str | None = None, *, run: RunDirectory | None = None) -> None:
        """Send a command to a run, the followed one by default; toasts tell that it was sent and what became of it."""
        run = run or self.followed
        if self.read_only:
            self.tell("this interface is read-only", problem=True)
        elif run is None:
            self.tell("no run is followed", problem=True)
        else:
            Thread(target=self._send, args=(run, kind, stage), name=f"command {kind}", daemon=True).start()

    async def ups(self, *arguments: str, on_line: Callable[[str], None] | None = None) -> process.Done:
        """Run an `ups` command beside the interface; see `process.ups`."""
        return await process.ups(*arguments, on_line=on_line)

    def confirm(self, question: str, then: Callable[[], object]) -> None:
        """Ask before something is lost, and do it after a yes."""

        def answered(yes: bool | None) -> None:
            if yes:
                then()

        self.push_screen(Confirm(question), answered)

    def tell(self, text: str, *, problem: bool = False) -> None:
        """Show a toast; the text is taken as it is, without markup."""
        self.notify(text, severity="warning" if problem else "information", markup=False)

    def on_answered(self, message: Answered) -> None:
        """Tell what became of a command."""
        answer = message.answer
        what = " ".join(filter(None, (answer.command.replace("_", " "), answer.stage)))
        words = {"sent": "sent", "done": "done", "refused": "refused"}[answer.outcome]
        reason = f": {answer.reason}" if answer.reason else ""
        self.tell(f"{what} {words}{reason}", problem=answer.outcome == "refused")

    def on_unanswered(self, message: Unanswered) -> None:
        """Tell that nobody answered."""
        self.tell(f"{message.what}: {message.reason}", problem=True)

    def get_line_filters(self) -> list[LineFilter]:
        """Add plain ASCII; under NO_COLOR take every colour away, not only the hue."""
        filters = super().get_line_filters()
        if self.no_color:
            filters = [_NO_COLOUR]
        return [*filters, *self._own_filters]

    def action_go(self, name: str) -> None:
        """Bring a screen to the front."""
        self.go(name)

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
            self.push_screen(HelpScreen(self.screen.NAME, self.keys, read_only=self.read_only))

    async def action_quit(self) -> None:
        """Leave."""
        self.exit()

    def leave(self) -> None:
        """Leave, from a signal handler."""
        if self._own_loop is not None:
            self._own_loop.call_soon_threadsafe(self.exit)

    def farewell(self) -> str | None:
        """What to tell in the terminal after leaving: whether the run goes on, and how to come back."""
        if self.followed is None:
            return None
        run, state = self.followed, None if self.view is None else self.view.state.state
        name = run.name if run.path == (self.root / run.name).absolute() else str(run.path)
        sentence = f"{run.name} goes on" if state in LIVE else f"{run.name} is {state or 'where it was'}"
        return f"{sentence}; come back with: ups tui {shlex.quote(name)}"

    def _look(self) -> None:
        """Hand on what is new; called twice a second."""
        if self._watcher is None:
            return
        if self._watcher.problem != self._problem:
            self._problem = self._watcher.problem
            if self._problem is not None:
                self.tell(self._problem, problem=True)
        version = None if self.view is None else self.view.version
        if version != self._version:
            self._version = version
            self._deliver()

    def _deliver(self) -> None:
        screen = self.screen_stack[0] if self.screen_stack else None
        if isinstance(screen, UpsScreen):
            screen.deliver()

    def _send(self, run: RunDirectory, kind: CommandKind, stage: str | None) -> None:
        """Send a command and wait for its answer; runs in a thread."""

        try:
            answer = request(run, kind, stage=stage)
            self.post_message(Answered(run, answer))
            if answer.outcome == "sent" and answer.reason is None:
                self.post_message(Answered(run, await_answer(run, answer, _PATIENCE)))
        except (RunError, FormatError) as problem:
            self.post_message(Unanswered(run, kind.replace("_", " "), problem.message))


_NO_COLOUR = NoColor()


def _make_screen(name: str) -> UpsScreen:
    """Import a screen when it is looked at for the first time."""
    module = importlib.import_module(f"ups_app.tui.screens.{name}")
    screen: UpsScreen = getattr(module, f"{name.capitalize()}Screen")()
    return screen
