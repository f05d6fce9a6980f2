"""Hashes of files as they were last seen, in the user's cache folder: a small file for each, which may be deleted.

It is no more than a way to save time: what is unknown, damaged or of another version counts as never seen, and where
nothing can be written only this process remembers.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from ups_engine.errors import UpsError
from ups_engine.runs.atomic import write_json

FORMAT = 1
State: TypeAlias = tuple[int, int, int, int]
"""Of a file: size, inode, and times of modification and of change in ns."""
Hashes: TypeAlias = tuple[str, str]
"""Of the whole file, and of its blocks."""

_seen: dict[Path, tuple[State, Hashes]] = {}


def recall(path: Path, state: State) -> Hashes | None:
    """The hashes of a file, resolved, if it was hashed in this state; else None."""
    if path not in _seen:
        with suppress(OSError, ValueError, KeyError, TypeError, RuntimeError):
            entry = json.loads(_place(path).read_bytes())
            check = entry.pop("check")
            if check == _check(entry) and (entry["format"], entry["path"]) == (FORMAT, str(path)):
                size, inode, modified, changed = entry["state"]
                _seen[path] = (size, inode, modified, changed), (entry["sha256"], entry["blocks"])
    known = _seen.get(path)
    return known[1] if known is not None and known[0] == state else None


def note(path: Path, state: State, hashes: Hashes) -> None:
    """Remember the hashes of a file, resolved, in this state."""
    _seen[path] = state, hashes
    entry = {"format": FORMAT, "path": str(path), "state": list(state), "sha256": hashes[0], "blocks": hashes[1]}
    with suppress(OSError, RuntimeError, UpsError):
        place = _place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, {**entry, "check": _check(entry)})


def _place(path: Path) -> Path:
    """Raises RuntimeError where the user has no home."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = named if named.is_absolute() else Path.home() / ".cache"
    return root / "ups" / "data" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:24]}.json"


def _check(entry: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
