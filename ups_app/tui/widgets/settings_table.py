"""All settings with their values and origins, and which of them the user has changed."""

from collections.abc import Collection, Mapping
from functools import reduce
from operator import getitem
from typing import Any

from textual import events

from ups_app.tui.widgets.table import Cell, Column, Table
from ups_engine.config.layers import DEFAULTS, ResolvedSettings
from ups_engine.config.notation import toml_value
from ups_engine.config.paths import allowed, setting

_NARROW = 72  # cells
_CHANGED = "●"


class SettingsTable(Table):
    """A row for every setting that holds a text in its path, value or origin; changed ones are marked."""

    def __init__(self, *, id: str) -> None:
        super().__init__(_columns(_NARROW), id=id)
        self._values: Mapping[str, str] = {}

    @property
    def assignment(self) -> str | None:
        """The highlighted setting as `KEY=VALUE`."""
        key = self.highlighted
        return None if key is None else f"{key}={self._values[key]}"

    def tell(self, resolved: ResolvedSettings, changed: Collection[str], wanted: str) -> int:
        """Show the settings that hold the wanted text; gives how many there are."""
        values = resolved.settings.model_dump(mode="json")
        self._values = {path: _text(values, path) for path in resolved.origins}
        rows: list[tuple[str, tuple[Cell, ...]]] = []
        for path, value in self._values.items():
            origin = resolved.origins[path]
            if wanted.casefold() not in f"{path}\n{value}\n{origin}".casefold():
                continue
            if path in changed:
                rows.append((path, tuple((text, "primary") for text in (_CHANGED, path, value, _short(origin)))))
            else:
                rows.append((path, ("", path, value or ("unset", "muted"), (_short(origin), "muted"))))
        self.put(rows)
        return len(rows)

    def on_resize(self, event: events.Resize) -> None:
        """Give the setting's path what room there is."""
        self.put(self._rows, _columns(event.size.width))


def explained(path: str) -> str:
    """What a setting that there is accepts, and what it means."""
    field = setting(path)
    assert field is not None, path
    meaning = " ".join((field.description or "").split())
    return f"{allowed(field.annotation, field.metadata)}. {meaning}".rstrip()


def _short(origin: str) -> str:
    """An origin without what most of them share: a fallback is to the namesake in `training`."""
    fallback, bracket, layer = origin.partition(" (")
    origin = f"{fallback.partition('.')[0]}, {layer.removesuffix(')')}" if bracket else origin
    return origin.replace(DEFAULTS, "default")


def _text(values: Any, path: str) -> str:
    """A value as `--set` takes it; empty where it is unset."""
    value: Any = reduce(getitem, path.split("."), values)
    if value is None:
        return ""
    return value if isinstance(value, str) else toml_value(value)


def _columns(width: int) -> list[Column]:
    value, origin = (12, 18) if width <= _NARROW else (14, 24)
    return [Column("", 1), Column("setting"), Column("value", value), Column("from", origin)]
