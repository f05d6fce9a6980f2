"""Values of settings in TOML's own notation: in archives, in templates and in messages."""

import json
from collections.abc import Mapping

_LONGEST = 60


def toml_value(value: object) -> str:
    """A value, not None, on one line.

    Raises:
        TypeError: TOML has no notation for it.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # the shortest text that reads back as the same number
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON leaves DEL, TOML forbids it
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name} = {toml_value(item)}' for name, item in value.items())}}}"
    raise TypeError(f"TOML has no notation for {type(value).__name__}")


def shown(value: object) -> str:
    """Whatever a user gave, for a message: in TOML's notation where it has one, cut where it is long."""
    if value is None:
        return "nothing"
    try:
        text = toml_value(value)
    except TypeError:
        text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
