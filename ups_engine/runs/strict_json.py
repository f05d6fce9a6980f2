"""JSON that every reader understands: numbers it has no word for (nan, inf) become null."""

import json
import math
from collections.abc import Mapping, Sequence


def dumps(value: object, *, indent: int | None = None) -> str:
    """Turn a value into strict JSON, in ASCII and, without an indent, on one line.

    Raises:
        TypeError: the value holds something JSON cannot, such as an array; convert it first.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        return json.dumps(value, allow_nan=False, indent=indent, separators=separators)
    except ValueError:  # a non-finite number somewhere: rare, so looked for only now
        return json.dumps(_finite(value), allow_nan=False, indent=indent, separators=separators)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


def finite(value: object) -> float | None:
    """Give what is a finite number of JSON; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
