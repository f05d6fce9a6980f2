"""Reading one settings file, TOML, YAML or JSON, with the line on which every key stands."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ups_engine.errors import SettingsError

KeyPath = tuple[str, ...]

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_TOML_HEADER = re.compile(rf"\s*\[\[?\s*(?P<key>{_DOTTED})\s*\]")
_TOML_KEY = re.compile(rf"\s*(?P<key>{_DOTTED})\s*=")
_YAML_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_YAML_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_DEEPEST = 8  # tables below this cannot be settings, and a YAML alias may nest a table in itself for ever


@dataclass(frozen=True)
class Layer:
    """Tables of one source of settings.

    Args:
        name: as origins and messages show it.
        tables: what was read.
        lines: on which keys stand, from 1, where that is known.
        version: of the settings in it. None where it states none: whatever no longer is a key is taken for an earlier
            one, of any version.
    """

    name: str
    tables: dict[str, object]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    version: int | None = None

    def where(self, path: KeyPath) -> str:
        """The layer's name with the line of a key, or of the innermost table around it whose line is known."""
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        return self.name if line is None else f"{self.name}, line {line}"


def read_file(path: Path, name: str) -> Layer:
    """Read a settings file by its suffix.

    Args:
        path: a `.toml`, `.yaml`, `.yml` or `.json` file.
        name: what messages call it.

    Raises:
        SettingsError: it cannot be read, is not of its format, repeats a key, holds no table, or a number that YAML 1.1
            alone takes for another (see `_refuse_other_bases`).
    """
    readers = {".toml": parse_toml, ".yaml": _parse_yaml, ".yml": _parse_yaml, ".json": _parse_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SettingsError(f"{name} is no settings file", "settings files end in .toml, .yaml, .yml or .json")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise SettingsError(
            f"{name} cannot be read: {problem.strerror or problem}", "check the path and its permissions"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name} is not UTF-8 text", "save it as UTF-8") from None
    try:
        return reader(text, name)
    except (ValueError, AttributeError, RecursionError) as problem:  # a number of 5,000 digits, a month 99, `!!int x`
        raise SettingsError(f"{name} holds a value that cannot be read: {problem}", "correct that value") from None


def parse_toml(text: str, name: str) -> Layer:
    """Parse TOML; lines are found by a scan that may miss keys inside inline tables, never by guesswork."""
    try:
        tables: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise SettingsError(f"{name} is not valid TOML: {problem}", "correct that line") from None
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    here: KeyPath
    for number, line in enumerate(text.split("\n"), 1):
        if header := _TOML_HEADER.match(line):
            table = _names(header["key"])
            here, names = (), table
        elif key := _TOML_KEY.match(line):
            here, names = table, _names(key["key"])
        else:
            continue
        for length in range(1, len(names) + 1):  # `a.b = 1` is the first line of `a` too
            lines.setdefault(here + names[:length], number)
    return Layer(name, tables, lines)


def _names(dotted: str) -> KeyPath:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, dotted))


def _parse_yaml(text: str, name: str) -> Layer:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        place = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        reason = getattr(problem, "problem", None) or "unreadable"
        raise SettingsError(f"{name} is not valid YAML: {reason}{place}", "correct that line") from None
    _refuse_other_bases(node, name)
    lines: dict[KeyPath, int] = {}
    for path, number in _yaml_keys(node, ()):
        if path in lines:
            raise SettingsError(
                f"{name}, line {number}: {'.'.join(path)} stands a second time, after line {lines[path]}",
                "keep one of the two",
            )
        lines[path] = number
    return Layer(name, _table(value, name), lines)


def _refuse_other_bases(root: yaml.Node | None, name: str) -> None:
    """Refuse numbers that YAML 1.1 reads to another base than they seem to have: 064 as 52, and 1:30 as 90.

    Raises:
        SettingsError: names the first of them, and what it would have been read as.
    """
    seen, left = set(), [] if root is None else [root]
    while left:
        node = left.pop()
        if id(node) in seen:  # an alias, which may lie inside what it stands for
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            left += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            left += reversed(node.value)
        elif node.tag in _YAML_NUMBERS and (":" in node.value or _YAML_OCTAL.fullmatch(node.value)):
            value = yaml.safe_load(f"{'!!int' if node.tag == _YAML_NUMBERS[0] else '!!float'} '{node.value}'")
            base = "to base 60" if ":" in node.value else "as octal"
            raise SettingsError(
                f"{name}, line {node.start_mark.line + 1}: YAML reads {node.value} {base}, which is {value}",
                "write the number to base 10 without leading zeros, or quotes around what is a text",
            )


def _yaml_keys(node: yaml.Node | None, prefix: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if not isinstance(node, yaml.MappingNode) or len(prefix) >= _DEEPEST:
        return
    for key, value in node.value:
        path = (*prefix, str(key.value))
        yield path, key.start_mark.line + 1
        yield from _yaml_keys(value, path)


def _parse_json(text: str, name: str) -> Layer:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(pairs)
        if len(table) < len(pairs):
            names = [key for key, _ in pairs]
            repeated = next(key for key in names if names.count(key) > 1)
            raise SettingsError(f"{name}: {repeated} stands twice in one table", "keep one of the two")
        return table

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as problem:
        raise SettingsError(
            f"{name} is not valid JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}",
            "correct that line",
        ) from None
    try:
        lines = dict(_yaml_keys(yaml.compose(text, Loader=yaml.SafeLoader), ()))
    except yaml.YAMLError:  # JSON that is no YAML, such as one indented by tabs: its lines stay unknown
        lines = {}
    return Layer(name, _table(value, name), lines)


def _table(value: object, name: str) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{name} holds no table of settings", "write `section: {key: value}` at its top level")
    return {str(key): item for key, item in value.items()}
