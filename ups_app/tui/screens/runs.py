"""All runs: live, finished and lost."""

from textual import events
from textual.app import ComposeResult
from textual.content import Content

from ups_app.tui.actions import Action
from ups_app.tui.looks import STATES
from ups_app.tui.screens.commanding import COMMANDS, RunCommands
from ups_app.tui.widgets.line import Line
from ups_app.tui.widgets.table import Cell, Column, Table
from ups_app.wording import figure, moment, place
from ups_engine.config.schema import STAGES
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import LIVE
from ups_engine.runs.state import RunState
from ups_engine.runs.watch import Damaged, RunsWatcher

OPEN = Action("open", "enter", "open", "open the dashboard of the highlighted run")
REMOVE = Action("remove", "delete", "remove", "delete the highlighted run for good", True)
LOOKS_APART = 0.5  # seconds
_EPOCHS = 7
_STATE, _RUN, _STAGE = Column("state", 10), Column("run"), Column("stage", max(map(len, STAGES)))
_NARROW = (_STATE, _RUN, _STAGE)
_COLUMNS = (*_NARROW, Column("epoch", _EPOCHS, "right"), Column("best", 8, "right"))
_WIDE = (*_COLUMNS, Column("started", 12))
_SENTENCES = {
    "waiting": "It has been made and is about to begin.",
    "lost": "Its process went away without a word. It goes on from its last saved state: resume.",
    "parked": "It has left the machine, saved. It goes on where it was: resume.",
    "stopped": "It was stopped, saved. It goes on where it was: resume.",
    "paused": "It waits in its process, which keeps its memory.",
}


class RunsScreen(RunCommands):
    """The list of runs; what the keys do, they do to the highlighted one."""

    ACTIONS = (OPEN, *COMMANDS, REMOVE)

    _watcher: RunsWatcher | None = None
    _states: dict[str, RunState | Damaged] | None = None

    def body(self) -> ComposeResult:
        """The table, and a few words on the highlighted run."""
        yield Table(_COLUMNS, id="runs")
        yield Line(id="about")

    @property
    def settled(self) -> bool:
        """Whether the folder has been read."""
        return self._states is not None

    def on_mount(self) -> None:
        """Show what the watcher has seen, again and again."""
        self.set_interval(LOOKS_APART, self._look)

    def on_screen_resume(self) -> None:
        """Look at all runs as long as the screen is in front."""
        if self._watcher is None:
            self._watcher = RunsWatcher(self.ups.root, clock=self.ups.clock).start()
            self._look()

    def on_screen_suspend(self) -> None:
        """Stop looking."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def on_unmount(self) -> None:
        """Stop looking."""
        self.on_screen_suspend()

    def on_resize(self, event: events.Resize) -> None:
        """Tell when a run began where there is room."""
        self._draw()

    def target(self) -> tuple[RunDirectory, RunState] | None:
        """The highlighted run."""
        state = self._highlighted()
        return (RunDirectory(state.directory), state) if isinstance(state, RunState) else None

    def copyable(self) -> str | None:
        """The highlighted run's folder."""
        target = self.target()
        return None if target is None else str(target[0].path)

    def label(self, action: Action) -> str:
        """A run that lives is not removed."""
        if action in (OPEN, REMOVE) and self._highlighted() is None:
            return ""
        target = self.target()
        if action is REMOVE and target is not None and target[1].state in LIVE:
            return ""
        return super().label(action)

    def on_data_table_row_selected(self) -> None:
        """Open the run that Enter or a click selects."""
        self.action_open()

    def on_data_table_row_highlighted(self) -> None:
        """Say more about the highlighted run."""
        self._tell()

    def action_open(self) -> None:
        """Follow the highlighted run, on its dashboard."""
        target = self.target()
        if target is not None:
            self.ups.follow(target[0])
            self.ups.switch_mode("dashboard")

    def action_remove(self) -> None:
        """Delete the highlighted run after a question."""
        name = self.query_one(Table).highlighted
        if name is not None:
            question = f"Delete run {name} with all its checkpoints and reports? Nothing of it is kept."
            self.ups.confirm(question, lambda: self.run_worker(self._remove(name), exit_on_error=False))

    async def _remove(self, name: str) -> None:
        done = await self.ups.ups("runs", "remove", str(self.ups.root.absolute() / name), "--yes")
        text = "\n".join(done.error) if done.code else f"run {name} is deleted"
        self.ups.tell(text, problem=done.code != 0)

    def _look(self) -> None:
        watcher = self._watcher
        if watcher is None or watcher.states is None or not self.present:
            return
        self._states = {state.run if isinstance(state, RunState) else state.name: state for state in watcher.states}
        self._draw()

    def _draw(self) -> None:
        if self._states is not None:
            table, width = self.query_one(Table), self.size.width
            columns = _NARROW if width < 72 else _COLUMNS if width < 90 else _WIDE
            table.put(((name, _row(name, state)[: len(columns)]) for name, state in self._states.items()), columns)
            self._tell()

    def _tell(self) -> None:
        state = self._highlighted()
        if self._states is not None and not self._states:
            text = f"There are no runs under {self.ups.root} yet; {self.keys['go_launch']} starts one."
            self.query_one("#about", Line).put(text)
        elif state is not None:
            self.query_one("#about", Line).put(_about(state))
        self.refresh_keys()

    def _highlighted(self) -> RunState | Damaged | None:
        name = self.query_one(Table).highlighted
        return None if name is None or self._states is None else self._states.get(name)


def _row(name: str, state: RunState | Damaged) -> list[Cell]:
    if not isinstance(state, RunState):
        return [_word("damaged"), name, "-", "-", "-", "-"]
    stage = next((stage for stage in state.stages if stage.name == state.stage), None)
    if stage is None:
        through = sum(stage.state in ("done", "skipped") for stage in state.stages)
        where = [f"{through} of {len(state.stages)} stages" if state.stages else "-", "-", "-"]
    else:
        epochs = f"{stage.epoch}/{stage.epochs}"
        share = f"{stage.epoch / max(1, stage.epochs):.0%}"
        where = [stage.name, epochs if len(epochs) <= _EPOCHS else share, figure(stage.best)]
    return [_word(state.state), name, *where, moment(state.created)]


def _word(state: str) -> Cell:
    sign, colour = STATES[state]
    return f"{sign} {state}", colour.removeprefix("$")


def _about(state: RunState | Damaged) -> Content:
    if not isinstance(state, RunState):
        return Content.from_markup("[$error]$message[/]", message=state.message)
    lines = [Content.from_markup("[$muted]$folder[/]", folder=place(state.directory))]
    if state.error is not None:
        message, hint = state.error
        lines.append(Content.from_markup("[$error]$message[/]", message=message))
        lines += [Content(hint)] if hint else []
    elif state.state in _SENTENCES:
        lines.append(Content(_SENTENCES[state.state]))
    return Content("\n").join(lines)
