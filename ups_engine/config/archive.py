"""Settings as text and as a fingerprint: what a run archives, and what a checkpoint is compared by."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ups_engine.config.files import Layer, parse_toml, read_file
from ups_engine.config.layer import Findings, chosen_task, seal, versioned
from ups_engine.config.layers import DEFAULTS, builtin_folder, validated
from ups_engine.config.migrations import SCHEMA, VERSION
from ups_engine.config.notation import toml_value
from ups_engine.config.paths import LATER, TABLES, setting
from ups_engine.config.schema import Settings

_OF_THE_VIEWER = ("tui",)


def settings_to_toml(settings: Settings) -> str:
    """Every value as TOML; what is unset is absent. `settings_from_toml` reads it back exactly.

    `tui` is left out: how somebody likes to look at a run is no part of it.
    """
    values = settings.model_dump(exclude_none=True, exclude={*_OF_THE_VIEWER})
    return "\n".join([f"{SCHEMA} = {VERSION}", *_table_lines(values, "")]) + "\n"


def settings_from_toml(text: str, where: str) -> Settings:
    """Read archived settings; no other layer has a say, but the built-in one about what is not archived.

    Args:
        text: what `settings_to_toml` wrote.
        where: the file, for messages.

    Raises:
        SettingsError: it is not valid TOML, or lacks or holds keys that its version does not.
        FormatError: a newer UPS wrote it.
    """
    layer = versioned(parse_toml(text, where), where)
    version = layer.version or 1
    tables = {name: table for name, table in layer.tables.items() if name not in _OF_THE_VIEWER}
    layer = replace(layer, tables=tables, version=version)
    findings = Findings()
    below = seal(Layer(DEFAULTS, _not_archived(version)), findings, None)
    return validated({**below, **seal(layer, findings, chosen_task([layer]))}, findings)


def _not_archived(version: int) -> dict[str, object]:
    """What an archive of a version does not hold: the viewer's settings, and those that came later, all neutral."""
    builtin: Mapping[str, Any] = read_file(builtin_folder() / "default.toml", DEFAULTS).tables
    tables: dict[str, Any] = {table: builtin[table] for table in _OF_THE_VIEWER}
    for path in (path for path, since in LATER.items() if since.version > version):
        *above, name = path.split(".")
        own, table = builtin, tables
        for outer in above:
            own, table = own.get(outer, {}), table.setdefault(outer, {})
        if path in TABLES:
            table[name] = {**own[name], **({"epochs": 0} if "epochs" in own[name] else {})}
        else:
            table[name] = LATER[path].neutral
    return tables


def settings_fingerprint(settings: Settings, sections: Sequence[str]) -> str:
    """Hash parts of the settings.

    Args:
        settings: resolved settings.
        sections: dotted paths of tables or single settings, in any order.

    Returns:
        SHA-256 in hexadecimal of their canonical JSON, keys sorted.

    Raises:
        KeyError: a path is not in the schema.
    """
    parts = {section: value_at(settings, section) for section in sections}
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def value_at(settings: Settings, path: str) -> object:
    """The plain value, a dictionary for a table, at a dotted path of the schema.

    Raises:
        KeyError: the path is not in the schema.
    """
    if setting(path) is None and path not in TABLES:
        raise KeyError(path)
    value: Any = settings.model_dump(mode="json")
    for name in path.split("."):
        value = value[name]
    return value


def _table_lines(table: Mapping[str, object], path: str) -> list[str]:
    """The lines of a table: its own values, then its tables, each after an empty line."""
    inner = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{name} = {toml_value(value)}" for name, value in table.items() if name not in inner]
    if path and lines:
        lines = ["", f"[{path}]", *lines]
    for name, value in inner.items():
        lines += _table_lines(value, f"{path}.{name}" if path else name)
    return lines
