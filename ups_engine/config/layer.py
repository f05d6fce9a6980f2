"""One layer of settings: its values, sealed with the place they came from, and what is wrong with its keys."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ups_engine.config.files import KeyPath, Layer
from ups_engine.config.migrations import MOVED_TABLES, SCHEMA, VERSION, RefusedError, translate
from ups_engine.config.notation import shown
from ups_engine.config.paths import OPEN_TABLES, TABLES, accepts, allowed, nearest, setting
from ups_engine.config.secrets import Secrets
from ups_engine.formats import require_known


@dataclass(frozen=True)
class Sealed:
    """A value with its provenance.

    dynaconf merges tables and replaces everything else. Sealed, a list is "everything else" too, and no text is
    parsed, interpolated or read as one of dynaconf's `@` commands on its way through.

    Args:
        value: the setting's value; None unsets what lower layers said.
        layer: the layer's name, as origins show it.
        where: layer, line where known, and the earlier key where the value was written under one.
    """

    value: object
    layer: str
    where: str


def versioned(layer: Layer, where: str) -> Layer:
    """The layer of a file, which may be what a run archived and then states its version.

    Raises:
        FormatError: a newer UPS wrote it; `where` is the file in the message.
    """
    tables = dict(layer.tables)
    stated = tables.pop(SCHEMA, None)
    version = None if stated is None else require_known("settings", stated, VERSION, where)
    return replace(layer, tables=tables, version=version)


def chosen_task(layers: Iterable[Layer]) -> object:
    """`data.task` by the highest layer that sets it."""
    entries = (entry for layer in layers for entry in _entries(layer.tables, ()))
    return {".".join(path): value for path, value in entries}.get("data.task")


@dataclass
class Findings:
    """What reading layers brought up besides values: translations of earlier keys, and mistakes, a line each."""

    notices: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)


def seal(layer: Layer, findings: Findings, task: object) -> dict[str, Sealed]:
    """Check the keys of a layer against the schema and seal its values.

    Args:
        layer: what was read.
        findings: extended by notices on earlier keys and by mistakes; a key with a mistake is left out.
        task: that all layers together choose; some earlier keys were for one task only.

    Returns:
        Sealed values by dotted path, of settings that the schema knows and no others.
    """
    values: dict[str, Sealed] = {}
    written: dict[str, str] = {}
    for path, value in _entries(layer.tables, ()):
        key = ".".join(path)
        found = _resolve(layer, path, value, findings, task)
        if found is None:
            continue
        now, sealed = found
        if now in written:
            findings.mistakes.append(f"{sealed.where}: {key} sets the same as {written[now]}; keep one of the two")
            continue
        written[now] = key
        values[now] = sealed
    return values


def _entries(table: Mapping[str, object], prefix: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """Every value of nested tables, with its path; a table that the schema does not know is one value."""
    for name, value in table.items():
        path = (*prefix, str(name))
        key = ".".join(path)
        if isinstance(value, Mapping) and (key in TABLES or key in OPEN_TABLES or key in MOVED_TABLES):
            yield from _entries(value, path)
        elif value is not None and key in TABLES and TABLES[key].ONE_FOR_ALL:
            yield from (((*path, each), value) for each in TABLES[key].model_fields)
        elif value is not None or not (key in TABLES or key in OPEN_TABLES):  # an empty YAML section sets nothing
            yield path, value


def _resolve(layer: Layer, path: KeyPath, value: object, findings: Findings, task: object) -> tuple[str, Sealed] | None:
    """The key that a written one means now and its sealed value; None when there is nothing to set."""
    key, where = ".".join(path), layer.where(path)
    names = key.split(".")
    if names[0] == "secrets" or names[-1] in Secrets.model_fields:  # never with its value
        findings.mistakes.append(
            f"{where}: {key} is secret; secrets are read from .secrets.toml and from UPS_SECRETS__* variables only"
        )
        return None
    now = key
    if layer.version is not None or setting(key) is None:
        try:
            translation = translate(key, value, layer.version or 0, task)
        except RefusedError as refusal:
            findings.mistakes.append(f"{where}: {key} = {shown(value)} {refusal}")
            return None
        if translation is not None:
            findings.notices.append(f"{where}: {translation.notice}")
            if translation.key is None:
                return None
            now, value, where = translation.key, translation.value, f"{where}, as {key}"
    if mistake := _mistake(now, value):
        findings.mistakes.append(f"{where}: {mistake}")
        return None
    return now, Sealed(value, layer.name, where)


def _mistake(key: str, value: object) -> str | None:
    if key in TABLES or key in OPEN_TABLES:
        example = next(iter(TABLES[key].model_fields)) if key in TABLES else "NAME"
        return f"{key} is a table and cannot be {shown(value)}; set the keys in it, such as {key}.{example}"
    field = setting(key)
    if field is None:
        return f"{key} is no known key; the nearest is {nearest(key)}"
    if isinstance(value, bool) and not accepts(field.annotation, bool):  # pydantic would read true as 1
        return f"{key} = {shown(value)} must be {allowed(field.annotation, field.metadata)}"
    return None


def nested(values: Mapping[str, Sealed]) -> dict[str, Any]:
    """The plain values as nested tables."""
    tree: dict[str, Any] = {}
    for path, sealed in values.items():
        *tables, name = path.split(".")
        table = tree
        for outer in tables:
            table = table.setdefault(outer, {})
        table[name] = sealed.value
    return tree
