"""Putting a new run together: preset, data, stages, settings; whether it would come to its end; its start."""

import asyncio
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import DataTable, Input, Select
from textual.worker import Worker

from ups_app.tui.actions import FILTER, Action
from ups_app.tui.order import Order
from ups_app.tui.screens.base import UpsScreen
from ups_app.tui.widgets.editor import TYPING, Editor
from ups_app.tui.widgets.fields import Field, Filter, PathSuggester
from ups_app.tui.widgets.line import Line
from ups_app.tui.widgets.settings_table import SettingsTable
from ups_app.tui.widgets.stage_choice import StageChoice
from ups_app.tui.widgets.start import StartPanel, Verdict, verdicts_of
from ups_engine.config.layers import ResolvedSettings, load_settings, presets
from ups_engine.config.schema import STAGES
from ups_engine.errors import SettingsError
from ups_engine.runs.directory import RunDirectory

LAUNCH = Action("launch", "ctrl+r", "start run", "start the run", True)
UNDO = Action("undo", "delete", "undo", "take the change of the highlighted setting back")
SETTLED = 0.8  # s without a change after which a preflight is worth a process
_OLD = 60.0  # s after which the machine may have changed


class LaunchScreen(UpsScreen):
    """A form, all settings to be changed, a preflight that follows every change, and the start."""

    ACTIONS = (
        Action("check", "c", "check", "check data, disk, memory and GPU for these settings"),
        LAUNCH,
        Action("preset", "p", "preset", "choose a preset"),
        Action("edit", "e", "edit", "change the highlighted setting, or any KEY=VALUE"),
        UNDO,
        FILTER,
    )
    AUTO_FOCUS = "#settings"

    order = Order()
    _resolved: ResolvedSettings | None = None
    """The latest valid settings."""
    _problem: str | None = "looking at the settings"
    """What is wrong with the settings."""
    _verdicts: tuple[Verdict, ...] | None = None
    """What the preflight says of the order as it is; None while that is not known."""
    _eager = False
    """The user has asked for the start while the preflight was under way."""
    _starting = False
    _looked = 0.0
    """UNIX time of the preflight."""
    _looking: Worker[None] | None = None

    def body(self) -> ComposeResult:
        """The form and the settings; beside or under them the preflight and the start."""
        named = [("none: the built-in defaults", "")]
        named += [(f"{preset.name}: {preset.summary}", preset.name) for preset in presets()]
        data = "file, folder or pattern; empty: files of the task, else made by UPS"
        with Vertical(id="form"):
            yield _line("preset", Select(named, id="preset", value="", allow_blank=False, compact=True))
            yield _line("data", Field(placeholder=data, id="data", suggester=PathSuggester()))
            yield _line("name", Field(placeholder="of the run; empty: task and time", id="name"))
            yield _line("stages", StageChoice(id="stages"))
            yield Filter()
            yield SettingsTable(id="settings")
            yield Editor(self._mistake_in, id="editor")
        yield StartPanel()

    def on_mount(self) -> None:
        """Look at the settings as they are."""
        self._fill()
        self._take(self.order)

    def on_screen_resume(self) -> None:
        """The machine may have changed since the last look."""
        super().on_screen_resume()
        idle = self._looking is None or self._looking.is_finished
        if idle and (self._verdicts is None or self.ups.clock() - self._looked > _OLD):
            self.action_check()

    @property
    def settled(self) -> bool:
        """Whether the preflight has spoken, or cannot."""
        return super().settled and self._looking is not None and self._looking.is_finished

    def copyable(self) -> str:
        """The command that starts the run."""
        return self.order.command

    def label(self, action: Action) -> str:
        """Offer what the order allows."""
        table = self.query_one(SettingsTable)
        if (action is LAUNCH and self._obstacle) or (action is UNDO and table.highlighted not in self.order.changed):
            return ""
        return "copy command" if action.id == "copy" else action.label

    def action_preset(self) -> None:
        """Open the list of presets."""
        chooser = self.query_one("#preset", Select)
        chooser.focus()
        chooser.action_show_overlay()

    @on(DataTable.RowSelected)
    def action_edit(self) -> None:
        """Change the highlighted setting."""
        self.query_one(Editor).edit(self.query_one(SettingsTable).assignment or "")

    def action_undo(self) -> None:
        """Take a change back."""
        key = self.query_one(SettingsTable).highlighted
        if key is not None and key in self.order.changed:
            self.put(self.order.without(key))

    def action_check(self) -> None:
        """Look at data, disk, memory and GPU anew."""
        self._look(typing=0.0, settled=0.0)

    def action_launch(self) -> None:
        """Start the run, after a question where the preflight speaks against it."""
        bad = [verdict for verdict in self._verdicts or () if verdict.verdict == "bad"]
        if self._obstacle is not None:
            self.ups.tell(self._obstacle, problem=True)
        elif self._verdicts is None:
            self._eager = True
            self._draw()
        elif bad:
            self.ups.confirm(f"{bad[0].name}: {bad[0].sentence}.\nStart all the same?", self._launch)
        else:
            self._launch()

    @property
    def _obstacle(self) -> str | None:
        """Why the run cannot be started."""
        if self.ups.read_only:
            return "this interface is read-only"
        return "starting ..." if self._starting else self._problem

    @on(Select.Changed, "#preset")
    def _preset_chosen(self, event: Select.Changed) -> None:
        self._take(replace(self.order, preset=str(event.value) or None))

    @on(Input.Changed, "#data,#name")
    def _field_typed(self, event: Input.Changed) -> None:
        key = "data.path" if event.input.id == "data" else "runs.name"
        self._take(self.order.having(key, event.value))

    @on(Input.Submitted, "#data,#name")
    def _field_entered(self) -> None:
        self.focus_next()

    @on(Field.Left)
    def _to_the_table(self) -> None:
        self.query_one(SettingsTable).focus()
        self._explain()

    @on(StageChoice.Toggled)
    def _stage_toggled(self, event: StageChoice.Toggled) -> None:
        self._take(self.order.toggled(event.stage))

    @on(Editor.Changed)
    def _setting_changed(self, event: Editor.Changed) -> None:
        self.put(self.order.having(event.key, event.text))
        self._to_the_table()

    @on(DataTable.RowHighlighted)
    def _row_highlighted(self) -> None:
        self._explain()
        self.refresh_keys()

    def put(self, order: Order) -> None:
        """Go on with an order that does not come out of the form, and show it there."""
        self._take(order)
        with self.prevent(Input.Changed):  # what is being typed must never be written over
            self.query_one("#data", Field).value = order.changed.get("data.path", "")
            self.query_one("#name", Field).value = order.changed.get("runs.name", "")

    def _take(self, order: Order) -> None:
        """Go on with another order."""
        if order == self.order and self._resolved is not None:
            return
        self.order = order
        self._look(typing=TYPING, settled=SETTLED)

    def _look(self, *, typing: float, settled: float) -> None:
        """Look at the order anew: at its settings after so many seconds, and so many later at the rest."""
        self._verdicts, self._eager = None, False
        self._draw()
        work = partial(self._settle, typing, settled)  # no coroutine before the worker begins: it may never
        self._looking = self.run_worker(work, group="look", exclusive=True, exit_on_error=False)

    async def _settle(self, typing: float, settled: float) -> None:
        """Find out what the settings are now, then whether the run would come to its end."""
        await asyncio.sleep(typing)
        order = self.order
        try:
            self._resolved = await asyncio.to_thread(load_settings, preset=order.preset, overrides=order.overrides)
        except SettingsError as problem:
            self._problem = problem.message
        else:
            self._problem = "every stage is left out" if order.left_out.issuperset(STAGES) else None
            self._fill()
        self._draw()
        if self._problem is None and self.is_current:
            await asyncio.sleep(settled)
            self._verdicts = verdicts_of(await self.ups.ups("train", "--dry-run", "--json", *order.arguments))
            self._looked = self.ups.clock()
            self._draw()
            if self._eager:
                self._eager = False
                self.action_launch()

    def _mistake_in(self, key: str, text: str) -> str | None:
        """What is wrong with a change to the order; runs in a thread."""
        try:
            load_settings(preset=self.order.preset, overrides=[*self.order.overrides, f"{key}={text}"])
        except SettingsError as problem:
            return problem.message
        return None

    def _launch(self) -> None:
        self._starting = True
        self._draw()
        self.run_worker(self._start(), group="start", exclusive=True, exit_on_error=False)

    async def _start(self) -> None:
        done = await self.ups.ups("train", "--detach", "--json", *self.order.arguments)
        self._starting = False
        if done.code:
            self.ups.tell("\n".join(done.error), problem=True)
            self.action_check()
            return
        run = RunDirectory(Path(json.loads(done.out)["directory"]))
        self.ups.tell(f"started {run.name}")
        self.ups.follow(run)
        self.ups.switch_mode("dashboard")
        self._looked = 0.0  # the machine is no longer what it was
        self.put(self.order.without("runs.name"))  # the next run needs another
        self._draw()

    @on(Input.Changed, "Filter")
    def _fill(self) -> None:
        """Show the settings that hold the filter's text."""
        resolved, wanted = self._resolved or self.ups.resolved, self.query_one(Filter).value
        if not self.query_one(SettingsTable).tell(resolved, self.order.changed, wanted):
            self.query_one(Editor).suggest(wanted)

    def _explain(self) -> None:
        """Say what the highlighted setting means."""
        self.query_one(Editor).explain(self.query_one(SettingsTable).highlighted)

    def _draw(self) -> None:
        """Show the stages, the command, what is in its way, and what the key bar offers."""
        stages = (self._resolved or self.ups.resolved).settings.stages
        epochs: dict[str, int] = {stage: getattr(stages, stage).epochs for stage in STAGES}
        self.query_one(StageChoice).tell(self.order.left_out, epochs)
        verdicts = self._verdicts
        if self._problem is not None and self._resolved is not None:
            verdicts = (Verdict("settings", "bad", "; ".join(self._problem.splitlines())),)
        self.query_one(StartPanel).tell(self.order.command, self._obstacle, verdicts, eager=self._eager)
        self.refresh_keys()


def _line(name: str, widget: Widget) -> Horizontal:
    """A line of the form."""
    return Horizontal(Line(name), widget, classes="field")
