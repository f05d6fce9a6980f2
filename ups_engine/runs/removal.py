"""Removing a run: its own files and nothing else."""

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ups_engine.errors import RunError
from ups_engine.runs.atomic import explaining_disk_errors
from ups_engine.runs.creation import RECORD
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.lease import Lease

_FILES = ("settings.toml", "origins.json", "data.json", "events.jsonl", "log.txt", "owner.lock", "record.lock")
_OWN = frozenset({RECORD, *_FILES, "commands", "checkpoints", "reports"})


@dataclass(frozen=True)
class Contents:
    """What a run's folder holds."""

    bytes: int
    """Of the run's own files."""
    foreign: tuple[str, ...]
    """Names in it that are none of a run's; they stay when the run is removed."""


def contents(run: RunDirectory) -> Contents:
    """Look at a run's folder. Links count as what they are, not as what they lead to.

    Raises:
        RunError: the folder cannot be read.
    """
    with explaining_disk_errors(run.path):
        entries = sorted(run.path.iterdir())
        own = [path for path in entries if _is_own(path)]
        return Contents(sum(map(_size, own)), tuple(path.name for path in entries if path not in own))


def remove(run: RunDirectory) -> Contents:
    """Remove a run. No link is followed, and what is not a run's stays, with the folder that it lies in.

    Returns:
        What the folder held.

    Raises:
        RunError: a live process owns the run, its folder is a link or no run, or the disk refuses.
    """
    if run.path.is_symlink():
        raise RunError(f"{run.path} is a link to another folder", f"name the folder itself: {run.path.resolve()}")
    with Lease.acquire(run):  # nobody begins to train while the files go
        held = contents(run)
        with explaining_disk_errors(run.path):
            for path in [path for path in run.path.iterdir() if _is_own(path) and path.name != RECORD]:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            (run.path / RECORD).unlink()  # last: a removal that was broken off can be taken up again
    with suppress(OSError):  # what is not the run's keeps its folder
        run.path.rmdir()
    return held


def _is_own(path: Path) -> bool:
    return path.name in _OWN or (path.name.startswith(".") and path.name.endswith(".tmp"))


def _size(path: Path) -> int:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with suppress(FileNotFoundError):  # a live run's files come and go
                total += (Path(folder) / name).lstat().st_size
    return total
