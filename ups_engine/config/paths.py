"""The schema as a flat map: every setting by its dotted path, what it accepts, and the nearest to a misspelt one."""

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from ups_engine.config.schema import Settings
from ups_engine.config.section import Section, Since

_NAME = re.compile(r"[A-Za-z0-9_-]+")  # what TOML takes without quotes
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _section(annotation: object) -> type[Section] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _walk(model: type[Section], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield prefix + name, field
        if section := _section(field.annotation):
            yield from _walk(section, f"{prefix}{name}.")


_FIELDS = dict(_walk(Settings, ""))

TABLES: Mapping[str, type[Section]] = {
    path: section for path, field in _FIELDS.items() if (section := _section(field.annotation))
}
"""Every table of settings by its dotted path, in the order of the schema."""

SETTINGS: Mapping[str, FieldInfo] = {path: field for path, field in _FIELDS.items() if path not in TABLES}
"""Every single setting by its dotted path, in the order of the schema."""


OPEN_TABLES: Mapping[str, FieldInfo] = {
    path: FieldInfo(annotation=get_args(field.annotation)[1], description=field.description)
    for path, field in SETTINGS.items()
    if get_origin(field.annotation) is Mapping
}
"""Settings that are tables of any names, by their dotted paths, with what each entry is."""

LATER: Mapping[str, Since] = {
    path: mark for path, field in _FIELDS.items() for mark in field.metadata if isinstance(mark, Since)
}
"""Settings and tables that came with a later version, by dotted path."""


def setting(path: str) -> FieldInfo | None:
    """The setting of a dotted path, entries of open tables included; None where there is none."""
    table, _, name = path.rpartition(".")
    return OPEN_TABLES[table] if table in OPEN_TABLES and _NAME.fullmatch(name) else SETTINGS.get(path)


def accepts(annotation: object, kind: type) -> bool:
    """Whether values of a plain type (bool, int, float, str) are at home in an annotation."""
    if get_origin(annotation) is Annotated:
        return accepts(get_args(annotation)[0], kind)
    if get_origin(annotation) in (Union, types.UnionType):
        return any(accepts(option, kind) for option in get_args(annotation))
    return annotation is kind


def allowed(annotation: object, metadata: tuple[object, ...] | list[Any] = ()) -> str:
    """Say in a few words what a setting accepts, such as `a whole number above 0, or unset`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return allowed(arguments[0], [*arguments[1:], *metadata])
    if origin in (Union, types.UnionType):
        options = [allowed(option, metadata) for option in arguments if option is not type(None)]
        return " or ".join(options) + (", or unset" if type(None) in arguments else "")
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"a list, each entry {allowed(arguments[0])}"
        return f"a list of {len(arguments)}, each {allowed(arguments[0])}"
    if origin is Mapping:
        return f"a table of any names, each {allowed(arguments[1])}"
    if section := _section(annotation):
        return "a table of " + ", ".join(section.model_fields)
    bounds = " and ".join(_bounds(metadata))
    kind = _KINDS[annotation] if isinstance(annotation, type) and annotation in _KINDS else "another value"
    return f"{kind} {bounds}".rstrip()


def _bounds(metadata: tuple[object, ...] | list[Any]) -> Iterator[str]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _bounds(item.metadata)
        elif isinstance(item, Gt):
            yield f"above {item.gt:g}"
        elif isinstance(item, Ge):
            yield f"of at least {item.ge:g}"
        elif isinstance(item, Lt):
            yield f"below {item.lt:g}"
        elif isinstance(item, Le):
            yield f"at most {item.le:g}"


def nearest(key: str) -> str:
    """The known path, of a table or of a setting, that a misspelt one most likely means.

    Args:
        key: a dotted path that the schema does not know.

    Returns:
        In this order of trust: a misspelling inside the same table; the same last name elsewhere; the likest path
        in that table or, when there is no such table, anywhere.
    """
    parent, _, name = key.rpartition(".")
    siblings = {path.rpartition(".")[2]: path for path in _FIELDS if path.rpartition(".")[0] == parent}
    if close := difflib.get_close_matches(name, siblings, n=1, cutoff=0.6):
        return siblings[close[0]]
    namesakes = [path for path in _FIELDS if path.rpartition(".")[2] == name]
    candidates = namesakes or (list(siblings.values()) if parent else None) or list(_FIELDS)
    return max(candidates, key=lambda path: difflib.SequenceMatcher(None, key, path).ratio())
