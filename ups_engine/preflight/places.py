"""Where a run will write: is the place free, writable, and large enough."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ups_engine.preflight.verdict import Check
from ups_engine.runs.creation import check_name
from ups_engine.telemetry.units import human_bytes

_TIGHT = 0.9  # share of the free space above which a warning is due: logs and reports want room too


@dataclass(frozen=True)
class Writing:
    """Something that a run will write.

    Attributes:
        what: in a word or two.
        folder: where, existing or not.
        size: bytes.
    """

    what: str
    folder: Path
    size: int


def check_folder(root: Path, name: str | None, folder: Path | None) -> Check:
    """Whether a new run can have its folder.

    Args:
        root: of all runs.
        name: of the run, or None for one after task and time.
        folder: chosen by the user instead.

    Raises:
        UsageError: the name cannot be a folder's.
    """
    if folder is None and name is not None:
        check_name(name)
    place = folder.expanduser().absolute() if folder is not None else root.absolute() / (name or "")
    if (folder is not None or name is not None) and _taken(place, empty_is_free=folder is not None):
        chosen = "another --run-dir" if folder is not None else "another runs.name"
        if (place / "run.json").is_file():
            going_on = name if folder is None else place
            return Check(
                "folder",
                "bad",
                f"{place} holds a run already: choose {chosen}, or go on with it by --resume {going_on}",
            )
        return Check("folder", "bad", f"{place} is there already and is no empty folder: choose {chosen}")
    if refusal := _refusal(place):
        return Check("folder", "bad", refusal)
    called = "" if folder is not None or name is not None else ", named after the task and the time"
    return Check("folder", "good", f"the run's folder will be {'in ' if called else ''}{place}{called}")


def check_disks(writings: Iterable[Writing]) -> Check:
    """Whether what a run writes has room, on every file system that it writes to."""
    disks: dict[int, list[Writing]] = {}
    for writing in writings:
        if writing.size:
            disks.setdefault(_standing(writing.folder).stat().st_dev, []).append(writing)
    sentences, worst = [], 0.0
    for inhabitants in disks.values():
        need = sum(writing.size for writing in inhabitants)
        free = shutil.disk_usage(_standing(inhabitants[0].folder)).free
        worst = max(worst, need / max(free, 1))
        parts = ", ".join(f"{human_bytes(writing.size)} of {writing.what}" for writing in inhabitants)
        where = inhabitants[0].folder.absolute()
        sentences.append(f"{parts} to write, {human_bytes(free)} free at {where}")
    for writing in (writing for inhabitants in disks.values() for writing in inhabitants):
        if refusal := _refusal(writing.folder):
            return Check("disk", "bad", refusal)
    if worst > 1:
        return Check(
            "disk", "bad", f"{'; '.join(sentences)}: free space, or choose other folders (data.root, runs.root)"
        )
    if worst > _TIGHT:
        return Check("disk", "warning", f"{'; '.join(sentences)}: that leaves little room for anything else")
    return Check("disk", "good", "; ".join(sentences) or "nothing large is left to write")


def _standing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = path.expanduser().absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _taken(place: Path, *, empty_is_free: bool) -> bool:
    if not place.exists():
        return False
    return not (empty_is_free and place.is_dir() and not any(place.iterdir()))


def _refusal(folder: Path) -> str | None:
    """Why nothing can be written into a folder that may still have to be made; None where it can."""
    standing = _standing(folder)
    if not standing.is_dir():
        return f"{folder} cannot be made, as {standing} is a file: choose another place"
    if not os.access(standing, os.W_OK | os.X_OK):
        return f"{standing} is not writable: change its permissions, or choose another place for {folder.name}"
    return None
