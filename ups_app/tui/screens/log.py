"""What a run said: the end of its log.txt, or its events."""

import asyncio
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.widgets import Log

from ups_app.tui.actions import FILTER, Action
from ups_app.tui.log_tail import LogTail
from ups_app.tui.screens.base import UpsScreen
from ups_app.tui.widgets.fields import Filter
from ups_app.tui.widgets.line import Line
from ups_app.wording import event_line, printable
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.watch import RunView

LOOKS_APART = 1.0  # seconds; a busy log redraws the whole screen


class LogScreen(UpsScreen):
    """The lines of one of two sources, filtered; at the end it stays at the end."""

    ACTIONS = (
        Action("source", "t", "log/events", "turn between log.txt and events"),
        Action("follow", "f", "follow", "stay at the end as it grows, or stop doing so"),
        FILTER,
    )
    AUTO_FOCUS = "Log"

    _run: RunDirectory | None = None
    _tail: LogTail | None = None
    _events: Sequence[str] = ()
    _shows_events: bool | None = None
    """None until it is known whether the run has a log.txt."""
    _written: list[str] | None = None
    _problem = ""

    def body(self) -> ComposeResult:
        """What is shown, the filter, the lines."""
        yield Line(id="source")
        yield Filter()
        yield Log(auto_scroll=True)

    @property
    def settled(self) -> bool:
        """Whether there is something to look at."""
        return super().settled and self._written is not None

    def on_mount(self) -> None:
        """Follow the file."""
        self.set_interval(LOOKS_APART, self._look)

    def on_screen_resume(self) -> None:
        """Look at once."""
        self.call_later(self._look)

    def show(self, view: RunView | None) -> None:
        """Take the events of the view."""
        run = self.ups.followed
        if run is not None and (self._run is None or run.path != self._run.path):
            self._run, self._tail, self._shows_events = run, LogTail(run.log), None
        self._events = [event_line(event) for event in view.recent] if view else []
        if run is None or (self._shows_events and not self._written):  # later ones are taken a few at a time
            self._write()

    def label(self, action: Action) -> str:
        """Name the source that the key turns to."""
        if action.id == "source":
            return "log.txt" if self._shows_events else "events"
        if action.id == "follow":
            return "hold" if self.query_one(Log).auto_scroll else "follow"
        return super().label(action)

    def copyable(self) -> str | None:
        """All lines shown."""
        return "\n".join(self._written) if self._written else None

    def action_source(self) -> None:
        """Turn between log.txt and events."""
        self._shows_events = not self._shows_events
        self._write()
        self.refresh_keys()

    def action_follow(self) -> None:
        """Stay at the end as it grows, or stop doing so."""
        log = self.query_one(Log)
        log.auto_scroll = not log.auto_scroll
        if log.auto_scroll:
            log.scroll_end(animate=False)
        self._head()
        self.refresh_keys()

    def on_input_changed(self) -> None:
        """Show only what holds the text."""
        self._write()

    async def _look(self) -> None:
        if self._tail is None or not self.is_current:
            return
        try:
            await asyncio.to_thread(self._tail.poll)
            self._problem = ""
        except OSError as problem:
            self._problem = f"cannot be read: {problem.strerror}"
        if not self.present:
            return
        if self._shows_events is None:
            self._shows_events = not self._tail.lines
            self.refresh_keys()
        self._write()

    def _write(self) -> None:
        """Bring the lines on the screen up to date, by adding to them where that is enough."""
        source = self._events if self._shows_events else map(printable, self._tail.lines if self._tail else ())
        wanted = self.query_one(Filter).value.casefold()
        lines = [line for line in source if wanted in line.casefold()]
        log, written = self.query_one(Log), self._written
        if lines != written:
            if written and lines[: len(written)] == written:
                log.write_lines(lines[len(written) :])
            else:
                log.clear()
                log.write_lines(lines)
            self._written = lines
        self._head()

    def _head(self) -> None:
        if self._run is None:
            self.query_one("#source", Line).put(f"no run is followed; {self.keys['go_runs']} lists the runs")
            return
        name = "events, without steps and heartbeats" if self._shows_events else "log.txt"
        wanted = self.query_one(Filter).value
        which = f" that hold “{wanted}”" if wanted else ""
        held = "" if self.query_one(Log).auto_scroll else "   held"
        count = len(self._written or ())
        self.query_one("#source", Line).put(f"{self._problem or name}   {count} lines{which}{held}")
