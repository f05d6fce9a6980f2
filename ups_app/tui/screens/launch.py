"""Putting a new run together: preset, data, stages, settings; whether it would come to its end; its start."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, DataTable, Input, Select

from ups_app.tui.actions import Action
from ups_app.tui.order import Order
from ups_app.tui.screens.base import UpsScreen
from ups_app.tui.widgets.editor import Editor
from ups_app.tui.widgets.fields import Field, PathSuggester
from ups_app.tui.widgets.filter import Filter
from ups_app.tui.widgets.line import Line
from ups_app.tui.widgets.settings_table import SettingsTable
from ups_app.tui.widgets.stage_choice import StageChoice
from ups_app.tui.widgets.verdicts import Verdict, Verdicts, verdicts_of
from ups_engine.config.layers import load_settings, presets
from ups_engine.config.schema import STAGES
from ups_engine.errors import SettingsError

if TYPE_CHECKING:
    from ups_engine.config.layers import ResolvedSettings
    from ups_engine.runs.watch import RunView

_TYPING = 0.15  # s without a change after which the settings are looked at
_SETTLED = 0.8  # s without a change after which a preflight is worth a process
_OLD = 60.0  # s after which the machine may have changed


class LaunchScreen(UpsScreen):
    """A form, all settings to be changed, a preflight that follows every change, and the start."""

    NAME = "launch"
    AUTO_FOCUS = "#settings"

    def __init__(self) -> None:
        super().__init__()
        self.order = Order()
        self._resolved: ResolvedSettings | None = None
        """The latest valid settings."""
        self._problem: str | None = "looking at the settings"
        """Why the run cannot be started."""
        self._verdicts: tuple[Verdict, ...] | None = None
        """What the preflight says of the order as it is; None while that is not known."""
        self._looked = 0.0
        self._wanted = ""

    def body(self) -> ComposeResult:
        """The form and the settings; beside or under them the preflight and the start."""
        named = [("none: the built-in defaults", "")]
        named += [(f"{preset.name}: {preset.summary}", preset.name) for preset in presets()]
        with Vertical(id="form"):
            with Horizontal(classes="field"):
                yield Line("preset")
                yield Select(named, id="preset", value="", allow_blank=False, compact=True)
            with Horizontal(classes="field"):
                yield Line("data")
                yield Field(
                    placeholder="file, folder or pattern; empty: files of the task, else made by UPS",
                    id="data",
                    suggester=PathSuggester(),
                )
            with Horizontal(classes="field"):
                yield Line("name")
                yield Field(placeholder="of the run; empty: task and time", id="name")
            with Horizontal(classes="field"):
                yield Line("stages")
                yield StageChoice(id="stages")
            yield Filter()
            yield SettingsTable(id="settings")
            yield Editor(self._mistake_in, id="editor")
        with Vertical(id="outcome"):
            with VerticalScroll(id="preflight"):
                yield Verdicts(id="verdicts")
            yield Line(id="command")
            with Horizontal(id="starting"):
                yield Button("start run", id="start", compact=True, disabled=True, action="screen.launch")
                yield Line(id="status")

    def on_mount(self) -> None:
        """Look at the settings as they are."""
        self.query_one(SettingsTable).tell(self.ups.resolved, (), "")
        self._take(self.order)

    def show(self, view: "RunView | None") -> None:
        """The machine may have changed since the last look."""
        if self._verdicts is not None and self.ups.clock() - self._looked > _OLD and self.is_current:
            self.action_check()

    def copyable(self) -> str:
        """The command that starts the run."""
        return self.order.command

    def label(self, action: Action) -> str:
        """Offer what the order allows."""
        table = self.query_one(SettingsTable)
        if (action.id == "launch" and self._problem) or (
            action.id == "undo" and table.highlighted not in self.order.own
        ):
            return ""
        return "copy command" if action.id == "copy" else action.label

    def action_preset(self) -> None:
        """Open the list of presets."""
        chooser = self.query_one("#preset", Select)
        chooser.focus()
        chooser.action_show_overlay()

    def action_filter(self) -> None:
        """Look for a setting."""
        self.query_one(Filter).open()

    def action_edit(self) -> None:
        """Change the highlighted setting."""
        self.query_one(Editor).edit(self.query_one(SettingsTable).assignment or "")

    def action_undo(self) -> None:
        """Take a change back."""
        key = self.query_one(SettingsTable).highlighted
        if key in self.order.own:
            self._put(self.order.without(key))

    def action_check(self) -> None:
        """Look at data, disk, memory and GPU anew."""
        self.run_worker(self._preflight(wait=0.0), group="preflight", exclusive=True, exit_on_error=False)

    def action_launch(self) -> None:
        """Start the run, after a question where the preflight speaks against it."""
        bad = [verdict for verdict in self._verdicts or () if verdict.verdict == "bad"]
        if self._problem is not None:
            self.ups.tell(self._problem, problem=True)
        elif bad:
            self.ups.confirm(f"{bad[0].name}: {bad[0].sentence}.\nStart all the same?", self._launch)
        else:
            self._launch()

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
    @on(Filter.Left)
    def _to_the_table(self) -> None:
        self.query_one(SettingsTable).focus()
        self._explain()

    @on(StageChoice.Toggled)
    def _stage_toggled(self, event: StageChoice.Toggled) -> None:
        self._take(self.order.toggled(event.stage))

    @on(Editor.Changed)
    def _setting_changed(self, event: Editor.Changed) -> None:
        self._put(self.order.having(event.key, event.text))
        self._to_the_table()

    @on(Input.Changed, "Filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        self._wanted = event.value
        self._fill()

    @on(DataTable.RowSelected)
    def _row_entered(self) -> None:
        self.action_edit()

    @on(DataTable.RowHighlighted)
    def _row_highlighted(self) -> None:
        self._explain()
        self.refresh_keys()

    def _put(self, order: Order) -> None:
        """Go on with an order that does not come out of the form, and show it there."""
        self._take(order)
        with self.prevent(Input.Changed):  # what is being typed must never be written over
            self.query_one("#data", Field).value = order.data
            self.query_one("#name", Field).value = order.name

    def _take(self, order: Order) -> None:
        """Go on with another order."""
        if order == self.order and self._resolved is not None:
            return
        self.order = order
        self._verdicts = None
        self._draw()
        self.run_worker(self._settle(), group="settle", exclusive=True, exit_on_error=False)

    async def _settle(self) -> None:
        """Find out what the settings are now, then whether the run would come to its end."""
        await asyncio.sleep(_TYPING)
        order = self.order
        try:
            self._resolved = await asyncio.to_thread(load_settings, preset=order.preset, overrides=order.overrides)
        except SettingsError as problem:
            self._problem = problem.message
        else:
            self._problem = "every stage is left out" if order.left_out.issuperset(STAGES) else None
            self._fill()
        self._draw()
        await self._preflight(wait=_SETTLED)

    def _mistake_in(self, key: str, text: str) -> str | None:
        """What is wrong with a change to the order; runs in a thread."""
        order = self.order.having(key, text)
        try:
            load_settings(preset=order.preset, overrides=[*order.overrides, *([] if text else [f"{key}="])])
        except SettingsError as problem:
            return problem.message
        return None

    async def _preflight(self, *, wait: float) -> None:
        self._verdicts = None
        self._draw()
        await asyncio.sleep(wait)
        if self._problem is not None or not self.is_current:
            return
        found = verdicts_of(await self.ups.ups("train", "--dry-run", "--json", *self.order.arguments))
        self._verdicts, self._looked = found, self.ups.clock()
        self.query_one(Verdicts).tell(found)
        self._draw()

    def _launch(self) -> None:
        self._problem = "starting"
        self._draw()
        self.run_worker(self._start(), group="start", exclusive=True, exit_on_error=False)

    async def _start(self) -> None:
        from ups_engine.runs.directory import RunDirectory

        done = await self.ups.ups("train", "--detach", "--json", *self.order.arguments)
        self._problem = None
        if done.code:
            self.ups.tell("\n".join(filter(None, done.error)), problem=True)
            self.action_check()
            return
        run = RunDirectory(Path(json.loads(done.out)["directory"]))
        self.ups.tell(f"started {run.name}")
        self.ups.follow(run)
        self.ups.go("dashboard")
        self._put(replace(self.order, name=""))  # the next run needs another
        self._draw()

    def _fill(self) -> None:
        """Show the settings."""
        resolved = self._resolved or self.ups.resolved
        found = self.query_one(SettingsTable).tell(resolved, self.order.own, self._wanted)
        if not found:
            self.query_one(Editor).suggest(self._wanted)

    def _explain(self) -> None:
        """Say what the highlighted setting means."""
        self.query_one(Editor).explain(self.query_one(SettingsTable).highlighted)

    def _draw(self) -> None:
        """Show the command, what is in its way, and what the key bar offers."""
        self.query_one("#command", Line).put(
            Content.from_markup("[$muted]$prompt[/] $command", prompt="$", command=self.order.command)
        )
        stages = (self._resolved or self.ups.resolved).settings.stages
        epochs: dict[str, int] = {stage: getattr(stages, stage).epochs for stage in STAGES}
        self.query_one(StageChoice).tell(self.order.left_out, epochs)
        if self._verdicts is None:
            self.query_one(Verdicts).dim()
        self.query_one("#status", Line).put(self._status(), layout=False)
        self.query_one("#start", Button).disabled = self._problem is not None or self.ups.read_only
        self.refresh_keys()

    def _status(self) -> Content:
        if self.ups.read_only:
            return Content("this interface is read-only")
        if self._problem is not None:
            return Content.from_markup("[$error]$why[/]", why=self._problem.splitlines()[0])
        if self._verdicts is None:
            return Content.from_markup("[$muted]checking data, disk, memory and GPU ...[/]")
        bad = sum(verdict.verdict == "bad" for verdict in self._verdicts)
        warnings = sum(verdict.verdict == "warning" for verdict in self._verdicts)
        if bad:
            return Content.from_markup(
                "[$error]not ready: $bad of $all checks are bad[/]", bad=bad, all=len(self._verdicts)
            )
        return Content(f"ready{f', {warnings} warnings' if warnings else ''}")
