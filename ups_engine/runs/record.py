"""`run.json`: what it says, and changing it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ups_engine.errors import RunError
from ups_engine.formats import require_known
from ups_engine.runs.atomic import explaining_disk_errors, write_json
from ups_engine.runs.creation import RECORD
from ups_engine.runs.locks import LockFile, without_locks
from ups_engine.runs.owner import Owner

RECORD_FORMAT = 2
"""Of run.json; the first had no hashes."""
_LOCK_FILE = "record.lock"


@dataclass(frozen=True)
class RunRecord:
    """What run.json says that UPS itself reads; the rest is where the run comes from, for its user to look up."""

    id: str
    """Stays when the folder is moved or renamed."""
    created: float
    """UNIX time."""
    folder: Path
    """The working folder that the run was started in; relative paths of its settings begin there."""
    owner: Owner | None
    """The process that writes the run; None when it has let go."""
    hashes: Mapping[str, str]
    """SHA-256 by path in the run's folder, of its settings, its data record and its reports as UPS wrote them."""


def read_record(folder: Path) -> RunRecord:
    """Give what run.json says.

    Args:
        folder: of the run.

    Raises:
        RunError: it is missing or damaged.
        FormatError: a newer UPS wrote it.
    """
    value = _record(folder)
    try:
        return RunRecord(
            id=str(value["id"]),
            created=float(value["created"]),
            folder=Path(os.path.normpath(folder / value.get("folder", Path.cwd()))),
            owner=None if value["owner"] is None else Owner.from_json(value["owner"]),
            hashes={str(name): str(digest) for name, digest in value.get("hashes", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder / RECORD, f"{type(error).__name__} {error}") from None


@contextmanager
def updating_record(folder: Path) -> Iterator[dict[str, Any]]:
    """Give what run.json says, to be changed and written at the end of the block.

    One process does so at a time: an evaluation enters its report without the lease.

    Args:
        folder: of the run.

    Raises:
        RunError: it is missing or damaged, or the disk refuses.
        FormatError: a newer UPS wrote it.
    """
    _record(folder)  # a folder without one gets no lock file either
    path = folder / RECORD
    with explaining_disk_errors(path), LockFile(folder / _LOCK_FILE) as file:
        try:
            file.lock(wait=True)
        except OSError as error:
            if not without_locks(error):
                raise
        record = _record(folder)
        yield record
        write_json(path, {**record, "format": RECORD_FORMAT})


def read_bytes(path: Path) -> bytes:
    """Read a file of a run.

    Raises:
        RunError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None


def read_text(path: Path) -> str:
    """Like `read_bytes`, of UTF-8."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from None


def read_json(path: Path) -> dict[str, Any]:
    """Like `read_bytes`, of an object of JSON."""
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(value, dict):
        raise _damaged(path, "it is no JSON object")
    return value


def _record(folder: Path) -> dict[str, Any]:
    value = read_json(folder / RECORD)
    require_known("run record", value.get("format"), RECORD_FORMAT, str(folder / RECORD))
    return value


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(f"cannot read {path}: {reason}", "restore the file from a copy, or start a new run")
