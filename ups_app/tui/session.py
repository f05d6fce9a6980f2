"""What the screens ask of the application: the run that is followed, commands to it, and toasts."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from textual.app import App

from ups_app.tui import process
from ups_app.tui.widgets.confirm import Confirm
from ups_app.wording import words
from ups_engine.config.layers import ResolvedSettings
from ups_engine.errors import RunError
from ups_engine.formats import FormatError
from ups_engine.runs.commands import CommandKind
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import Answer, await_answer, request
from ups_engine.runs.watch import RunView, Watcher

LOOKS_APART = 0.5  # seconds
_PATIENCE = 60.0  # seconds for a run's answer


class Session(App[None]):
    """The application without its screens.

    Args:
        resolved: the settings of the working folder.
        keys: that the user has moved, by action id.
        read_only: change no run and no file.
        clock: UNIX time.
    """

    def __init__(
        self, resolved: ResolvedSettings, keys: Mapping[str, str], read_only: bool, clock: Callable[[], float]
    ) -> None:
        super().__init__()
        self.resolved = resolved
        self.keys = keys
        self.root = Path(resolved.settings.runs.root)
        self.followed: RunDirectory | None = None
        self.read_only = read_only
        self.clock = clock
        self._watcher: Watcher | None = None
        self._version: int | None = None
        self._problem: str | None = None

    @abstractmethod
    def deliver(self) -> None:
        """Hand what is known of the followed run to the screen in front."""

    @property
    def view(self) -> RunView | None:
        """What is known of the followed run; None while it is read for the first time."""
        return None if self._watcher is None else self._watcher.view

    @property
    def caught_up(self) -> bool:
        """Whether the screens have been given what is known of the followed run."""
        return self.followed is None or (self.view is not None and self.view.version == self._version)

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
        self.deliver()

    def look(self) -> None:
        """Hand on what is new."""
        if self._watcher is None:
            return
        if self._watcher.problem != self._problem:
            self._problem = self._watcher.problem
            if self._problem is not None:
                self.tell(self._problem, problem=True)
        version = None if self.view is None else self.view.version
        if version != self._version:
            self._version = version
            self.deliver()

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

    def confirm(self, question: str, then: Callable[[], Any]) -> None:
        """Ask before something is lost, and do it after a yes."""
        self.push_screen(Confirm(question), lambda yes: then() if yes else None)

    def tell(self, text: str, *, problem: bool = False) -> None:
        """Show a toast; the text is taken as it is, without markup."""
        self.notify(text, severity="warning" if problem else "information", markup=False)

    def _send(self, run: RunDirectory, kind: CommandKind, stage: str | None) -> None:
        """Send a command and wait for its answer; runs in a thread."""
        try:
            answer = request(run, kind, stage=stage)
            self._post(answer)
            if answer.outcome == "sent" and answer.reason is None:
                self._post(await_answer(run, answer, _PATIENCE))
        except (RunError, FormatError) as problem:
            self.call_later(self.tell, f"{words(kind)}: {problem.message}", problem=True)

    def _post(self, answer: Answer) -> None:
        reason = f": {answer.reason}" if answer.reason else ""
        text = f"{words(answer.command, answer.stage)} {answer.outcome}{reason}"
        self.call_later(self.tell, text, problem=answer.outcome == "refused")
