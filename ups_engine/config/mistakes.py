"""pydantic's findings as one clear line per mistake: key, value, layer, and what is allowed."""

import re
from collections.abc import Iterator, Mapping
from typing import get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ups_engine.config.layer import Sealed
from ups_engine.config.notation import shown
from ups_engine.config.paths import SETTINGS, TABLES, allowed, nearest, setting
from ups_engine.config.schema import TRAINED_STAGES, fallback_keys
from ups_engine.config.section import Section

_KEY_IN_PROSE = re.compile(r"[a-z]\w*(?:\.[a-z]\w*)*")


def training_key(key: str) -> str | None:
    """The key under `training` that a stage's key falls back to; None for every other key."""
    head, stage, name = [*key.split(".", 2), "", ""][:3]
    falls_back = head == "stages" and stage in TRAINED_STAGES and name.split(".")[0] in fallback_keys(stage)
    return f"training.{name}" if falls_back else None


def holder(key: str, values: Mapping[str, Sealed]) -> tuple[str, Sealed | None]:
    """The key whose value takes effect for `key`, itself or the one it falls back to, and that value."""
    own = values.get(key)
    fallback = training_key(key)
    if fallback is None or (own is not None and own.value is not None):
        return key, own
    return fallback, values.get(fallback)


def explain(error: ValidationError, values: Mapping[str, Sealed]) -> list[str]:
    """Say what is wrong.

    Args:
        error: raised by the schema.
        values: what the merged layers hold, by dotted path.

    Returns:
        A line for each mistake; one in `training` that all stages inherit is said once.
    """
    lines = (_line(item, values) for item in error.errors(include_url=False))
    return list(dict.fromkeys(lines))


def _line(item: ErrorDetails, values: Mapping[str, Sealed]) -> str:
    if item["type"] == "missing":
        return f"{_dotted(item['loc'])} has no value in any layer"
    path, entry = _split(item["loc"])
    if setting(path) is None:
        return _about_table(item, path, values)
    key, sealed = holder(path, values)
    where = "" if sealed is None else f" ({sealed.where})"
    named = _dotted((key, *entry))
    field = setting(key)
    assert field is not None
    if item["type"] == "extra_forbidden":
        return f"{named} is no known key{where}; {key} must be {allowed(field.annotation)}"
    if item["type"] == "value_error":
        return f"{named} = {shown(item['input'])}{where}: {_message(item)}"
    accepted = _allowed_in(field, entry) if entry else allowed(field.annotation, field.metadata)
    return f"{named} = {shown(item['input'])}{where} must be {accepted}"


def _dotted(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _split(location: tuple[int | str, ...]) -> tuple[str, tuple[int | str, ...]]:
    """The dotted path of the setting or table that an error is about, and the place inside a list below it."""
    for length in range(len(location), 0, -1):
        path = ".".join(str(part) for part in location[:length])
        if setting(path) is not None or path in TABLES:
            return path, location[length:]
    return "", location


def _allowed_in(field: FieldInfo, entry: tuple[int | str, ...]) -> str:
    """What an entry of a list accepts, or a key of a table in a list."""
    annotation: object = field.annotation
    metadata: list[object] = []
    for part in entry:
        if isinstance(part, int):
            options = [option for option in get_args(annotation) if option is not Ellipsis]
            annotation, metadata = options[min(part, len(options) - 1)], []
        elif isinstance(annotation, type) and issubclass(annotation, Section) and part in annotation.model_fields:
            inner = annotation.model_fields[part]
            annotation, metadata = inner.annotation, inner.metadata
    return allowed(annotation, metadata)


def _about_table(item: ErrorDetails, path: str, values: Mapping[str, Sealed]) -> str:
    """A mistake between several keys, with the layers that they came from."""
    if item["type"] == "extra_forbidden":
        key = _dotted(item["loc"])
        return f"{key} is no known key; the nearest is {nearest(key)}"
    message = _message(item)
    sources = "; ".join(f"{key}: {sealed.where}" for key, sealed in _mentioned(message, path, values))
    named = f"{path}: {message}" if path else message
    return f"{named} ({sources})" if sources else named


def _mentioned(message: str, path: str, values: Mapping[str, Sealed]) -> Iterator[tuple[str, Sealed]]:
    for word in dict.fromkeys(_KEY_IN_PROSE.findall(message)):
        for key in (f"{path}.{word}", word):
            _, sealed = holder(key, values) if key in SETTINGS else (key, None)
            if sealed is not None:
                yield word, sealed
                break


def _message(item: ErrorDetails) -> str:
    return str(item.get("ctx", {}).get("error", item["msg"]))
