"""ULIDs: identifiers that sort by the time they were made (https://github.com/ulid/spec)."""

import re
import secrets
import threading
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PATTERN = re.compile(f"[0-7][{_ALPHABET}]{{25}}")
_RANDOM_BITS = 80
_lock = threading.Lock()
_last = 0


def new_ulid() -> str:
    """Make an identifier of 26 characters: 48 bits of milliseconds, 80 random bits; rising within a process."""
    global _last
    with _lock:
        value = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        # In the same millisecond, or with the clock set back, count on from the last one.
        _last = value = max(value, _last + 1)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def is_ulid(text: str) -> bool:
    """Tell whether a text is an identifier of this form."""
    return _PATTERN.fullmatch(text) is not None
