"""Settings as text and as a fingerprint: what a run archives, and what a checkpoint is compared by."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from ups_engine.config.files import Document, parse_toml, read_document
from ups_engine.config.layer import Findings, Layer, seal
from ups_engine.config.layers import DEFAULTS, builtin_folder, validated
from ups_engine.config.notation import toml_value
from ups_engine.config.paths import LATER, SETTINGS, TABLES
from ups_engine.config.schema import Settings
from ups_engine.config.section import Since
from ups_engine.config.versions import SCHEMA, VERSION, up_to_date

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
    archived, builtin = parse_toml(text, where), read_document(builtin_folder() / "default.toml", DEFAULTS)
    found, version = up_to_date(archived, where, otherwise=1)
    tables = found.tables
    for path, mark in LATER.items():
        if mark.version > version:
            tables = _with_neutral(tables, path.split("."), mark, builtin.tables)
    viewer = {table: builtin.tables[table] for table in _OF_THE_VIEWER}
    findings = Findings()
    layer = Layer(where, Document({**tables, **viewer}, archived.lines))
    return validated(seal(layer, findings), findings)


def _with_neutral(
    tables: Mapping[str, object], path: Sequence[str], mark: Since, builtin: Mapping[str, object]
) -> dict[str, object]:
    """The tables with the neutral value of a setting, or of a table, that came later."""
    name, *deeper = path
    inner, own = tables.get(name), builtin.get(name)
    if deeper:
        assert isinstance(own, Mapping) or own is None
        below = _with_neutral(inner if isinstance(inner, Mapping) else {}, deeper, mark, own or {})
        return {**tables, name: below}
    if name in tables:
        return dict(tables)
    neutral = {**own, "epochs": 0} if isinstance(own, Mapping) and "epochs" in own else own
    return {**tables, name: neutral if isinstance(own, Mapping) else mark.neutral}


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
    if path not in SETTINGS and path not in TABLES:
        raise KeyError(path)
    value: object = settings.model_dump(mode="json")
    for name in path.split("."):
        assert isinstance(value, dict)
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
