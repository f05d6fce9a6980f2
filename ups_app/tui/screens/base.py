"""What all screens share: the bars, the bindings of their actions, and the hook that gets the latest view."""

from typing import Any, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from ups_app.tui.actions import COMMON, Action, bindings, key_name
from ups_app.tui.session import Session
from ups_app.tui.widgets.bars import KeyBar, TopBar
from ups_app.tui.widgets.fields import Filter
from ups_engine.runs.watch import RunView


class UpsScreen(Screen[None]):
    """A main screen. It gives `body` and `show`, and an `action_<id>` for each of its `ACTIONS`."""

    NAME: ClassVar[str]
    """That of its module."""
    ACTIONS: ClassVar[tuple[Action, ...]] = ()
    """What can be done on it beside what every screen has, in the order of footer, palette and help."""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-huge")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012

    def __init_subclass__(cls, **options: Any) -> None:
        cls.NAME = cls.__module__.rpartition(".")[2]
        cls.BINDINGS = bindings(cls.ACTIONS)  # type: ignore[assignment]
        super().__init_subclass__(**options)

    @property
    def ups(self) -> Session:
        """The application, with its type."""
        return cast(Session, self.app)

    @property
    def actions(self) -> tuple[Action, ...]:
        """All that can be done here."""
        return (*self.ACTIONS, *COMMON)

    @property
    def keys(self) -> dict[str, str]:
        """The names of the keys of these actions by their ids, as the user has set them."""
        return {action.id: key_name(self.ups.keys.get(action.id, action.key)) for action in self.actions}

    def compose(self) -> ComposeResult:
        """The frame around the body."""
        yield TopBar(self.NAME)
        yield from self.body()
        yield KeyBar()

    def body(self) -> ComposeResult:
        """What the screen is about."""
        yield from ()

    def show(self, view: RunView | None) -> None:
        """Take in the latest view of the followed run, None when none is followed or it has not been read yet.

        Called when it has changed while the screen is in front, and when the screen comes to the front.
        """

    @property
    def present(self) -> bool:
        """Whether its parts are there; when the application leaves, timers go on while screens are taken down."""
        return self.is_mounted and self.app.is_running

    @property
    def settled(self) -> bool:
        """Whether the screen shows all that it will show of a run that stands still; a picture waits for it."""
        return self.ups.caught_up

    def action_filter(self) -> None:
        """Look for a text, on a screen that has a `Filter`."""
        self.query_one(Filter).open()

    def on_field_left(self) -> None:
        """Back to what is filtered."""
        self.query_one(str(self.AUTO_FOCUS)).focus()

    def copyable(self) -> str | None:
        """The text that `copy` copies; None when nothing is highlighted."""
        return None

    def label(self, action: Action) -> str:
        """What the key bar calls an action at the moment; empty leaves it out."""
        return action.label

    def on_screen_resume(self) -> None:
        """Catch up with what happened behind the other screens."""
        self.deliver()

    def on_resize(self, event: events.Resize) -> None:
        """Offer what goes with the new layout, once the breakpoints are taken in."""
        self.call_later(self.refresh_keys)

    def deliver(self) -> None:
        """Hand the latest view to the bars and the body."""
        if not self.present:
            return
        app, view = self.ups, self.ups.view
        run = None if app.followed is None else (app.followed.name, view.state.state if view else "reading")
        self.query_one(TopBar).tell(run, read_only=app.read_only)
        self.show(view)
        self.refresh_keys()

    def refresh_keys(self) -> None:
        """Draw the key bar again; call it when a label has changed."""
        offered = [
            (action, label)
            for action in self.actions
            if (label := self.label(action)) and self.check_action(action.id, ())
        ]
        self.query_one(KeyBar).tell(offered, self.keys)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tell of work beside the interface that broke down; it does not end the interface."""
        if event.state is WorkerState.ERROR:
            self.ups.tell(f"{event.worker.group}: {event.worker.error}", problem=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide what --read-only forbids."""
        return not (self.ups.read_only and any(own.id == action and own.changes for own in self.ACTIONS))

    async def action_act(self, identity: str) -> None:
        """Do an action, as its key would."""
        action = next(action for action in self.actions if action.id == identity)
        await (self if action in self.ACTIONS else self.app).run_action(action.call)

    def action_copy(self) -> None:
        """Copy the highlighted value to the clipboard of the terminal's own machine."""
        text = self.copyable()
        if text is None:
            self.ups.tell("nothing to copy here")
        else:
            self.app.copy_to_clipboard(text)
            self.ups.tell(f"copied {Content(text.splitlines()[0] if text else '').truncate(40, ellipsis=True).plain}")
