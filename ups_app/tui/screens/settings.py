"""The settings of the followed run, or of the working folder, with the layer that each value came from."""

import json
import tomllib
from collections.abc import Mapping

from textual import events, on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import DataTable, Input

from ups_app.tui.actions import FILTER
from ups_app.tui.screens.base import UpsScreen
from ups_app.tui.widgets.fields import Filter
from ups_app.tui.widgets.line import Line
from ups_app.tui.widgets.table import Column, Table
from ups_engine.config.archive import settings_to_toml
from ups_engine.config.layers import UNSET
from ups_engine.config.migrations import SCHEMA
from ups_engine.config.notation import toml_value
from ups_engine.config.paths import allowed, setting
from ups_engine.errors import RunError
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.watch import RunView

_COLUMNS = (Column("setting"), Column("value"), Column("origin"))


class SettingsScreen(UpsScreen):
    """A searchable table, and what the highlighted setting means."""

    ACTIONS = (FILTER,)
    AUTO_FOCUS = "Table"

    _shown: RunDirectory | None = None
    _entries: dict[str, tuple[str, str]] | None = None
    """Value and origin by key."""

    def body(self) -> ComposeResult:
        """Whose settings they are, the filter, the table, the meaning of one."""
        yield Line(id="whose")
        yield Filter()
        yield Table(_COLUMNS, id="settings")
        yield Line(id="meaning")

    def show(self, view: RunView | None) -> None:
        """Read the settings of another run; those of a run never change."""
        run = self.ups.followed
        if self._entries is None or run != self._shown:
            self._shown = run
            self._read()
            self._draw()

    def copyable(self) -> str | None:
        """The highlighted setting, as `--set` takes it."""
        key = self.query_one(Table).highlighted
        return f"{key}={self._entries[key][0]}" if key and self._entries and self._entries[key][0] else key

    def _read(self) -> None:
        whose = self.query_one("#whose", Line)
        if self._shown is None:
            resolved = self.ups.resolved
            values = _flat(tomllib.loads(settings_to_toml(resolved.settings)))
            origins: Mapping[str, str] = resolved.origins
            whose.put("settings of this folder, for the next run")
        else:
            try:
                values = _flat(tomllib.loads(self._shown.settings_toml))
                origins = json.loads((self._shown.path / "origins.json").read_text("utf-8"))
            except (RunError, OSError, ValueError) as problem:
                values, origins = {}, {}
                whose.put(f"the settings of {self._shown.name} cannot be read: {problem}")
            else:
                whose.put(f"settings that {self._shown.name} was started with")
        values.pop(SCHEMA, None)
        keys = dict.fromkeys([*origins, *values])
        self._entries = {key: (values.get(key, ""), str(origins.get(key, UNSET))) for key in keys}

    @on(Input.Changed)
    def _draw(self) -> None:
        """Show only what holds the filter's text."""
        if self._entries is None:
            return
        wanted = self.query_one(Filter).value.casefold()
        rows = []
        for key, (value, origin) in self._entries.items():
            if wanted in f"{key} {value} {origin}".casefold():
                builtin = origin == UNSET or "settings/default.toml" in origin
                rows.append((key, (key, value or ("unset", "muted"), (origin, "muted") if builtin else origin)))
        self.query_one(Table).put(rows)
        self._explain()

    @on(DataTable.RowHighlighted)
    @on(events.Resize)  # it may wrap otherwise
    def _explain(self) -> None:
        """Say what the highlighted setting means."""
        key = self.query_one(Table).highlighted
        field = setting(key) if key else None
        if key is None or self._entries is None:
            text = Content("")
        elif field is None:
            text = Content(f"{key} is no setting of this version")
        else:
            value, origin = self._entries[key]
            meaning = (field.description or "").replace("\n", " ")
            accepts = f"accepts {allowed(field.annotation, field.metadata)}", "$muted"
            now = f" = {value or 'unset'}   "
            text = Content.assemble((key, "b"), now, (origin, "$muted"), f"\n{meaning}\n", accepts)
        self.query_one("#meaning", Line).put(text)


def _flat(tree: Mapping[str, object], path: str = "") -> dict[str, str]:
    """Values as TOML by dotted key."""
    flat: dict[str, str] = {}
    for name, value in tree.items():
        here = f"{path}{name}"
        flat |= _flat(value, f"{here}.") if isinstance(value, Mapping) else {here: toml_value(value)}
    return flat
