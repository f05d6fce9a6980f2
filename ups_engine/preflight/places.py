"""The folders that UPS writes to: whether they are free, writable and large enough, and have file locks."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from ups_engine.preflight.verdict import Finding
from ups_engine.runs.creation import check_name
from ups_engine.telemetry.units import human_bytes

_TIGHT = 0.9  # share of the free space above which a warning is due: logs and reports want room too
_LOW, _EMPTY = 2 << 30, 64 << 20
_KEYS = {"runs": "runs.root", "data": "data.root", "cache": "latent.cache_dir"}


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


def check_folder(root: Path, name: str | None, folder: Path | None) -> Finding:
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
    named = folder is not None or name is not None
    empty = folder is not None and place.is_dir() and not any(place.iterdir())
    if named and place.exists() and not empty:
        chosen = "another --run-dir" if folder is not None else "another runs.name"
        if (place / "run.json").is_file():
            going_on = name if folder is None else place
            return "bad", f"{place} holds a run already: choose {chosen}, or go on with it by --resume {going_on}"
        return "bad", f"{place} is there already and is no empty folder: choose {chosen}"
    if refusal := _refusal(place):
        return "bad", refusal
    where = place if named else f"in {place}, named after the task and the time"
    return "good", f"the run's folder will be {where}"


def check_disks(writings: Iterable[Writing]) -> Finding:
    """Whether what a run writes has room, on every file system that it writes to."""
    disks: dict[int, list[Writing]] = {}
    for writing in (writing for writing in writings if writing.size):
        if refusal := _refusal(writing.folder):
            return "bad", refusal
        disks.setdefault(_standing(writing.folder).stat().st_dev, []).append(writing)
    sentences, worst = [], 0.0
    for inhabitants in disks.values():
        need = sum(writing.size for writing in inhabitants)
        free = shutil.disk_usage(_standing(inhabitants[0].folder)).free
        worst = max(worst, need / max(free, 1))
        parts = ", ".join(f"{human_bytes(writing.size)} of {writing.what}" for writing in inhabitants)
        where = inhabitants[0].folder.absolute()
        sentences.append(f"{parts} to write, {human_bytes(free)} free at {where}")
    if worst > 1:
        return "bad", f"{'; '.join(sentences)}: free space, or choose other folders (data.root, runs.root)"
    if worst > _TIGHT:
        return "warning", f"{'; '.join(sentences)}: that leaves little room for anything else"
    return "good", "; ".join(sentences) or "nothing large is left to write"


def check_place(name: str, folder: Path) -> Finding:
    """Whether a folder, or the one in which it would be made, has room, can be written to, and has file locks.

    Args:
        name: `runs`, `data` or `cache`.
        folder: it need not exist yet.
    """
    place, standing = folder.expanduser().absolute(), _standing(folder)
    standing = standing if standing.is_dir() else standing.parent
    free = shutil.disk_usage(standing).free
    where = f"{place} ({_file_system(standing)}): {human_bytes(free)} free"
    elsewhere = f"set {_KEYS[name]} to another folder"
    if not os.access(standing, os.W_OK | os.X_OK):
        if name == "data" and place.exists():
            return "good", f"{where}, read only, which is enough for data that are there"
        return "bad", f"{where}, but it cannot be written to: change its permissions, or {elsewhere}"
    if free < _EMPTY:
        return "bad", f"{where}, which is too little for anything: free some, or {elsewhere}"
    refusal = _lock_refusal(standing)
    if refusal is not None and name != "data":
        # The cache is shared by locks and cannot do without; a run's owner is known by its process too.
        lost = "caches cannot be built there" if name == "cache" else "two processes on two machines could take one run"
        return "bad" if name == "cache" else "warning", f"{where}, {refusal}: {lost}; {elsewhere}"
    if free < _LOW:
        return "warning", f"{where}, which is little: checkpoints and latents may not fit"
    return "good", f"{where}, writable{'' if refusal else ', with file locks'}"


def _standing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = path.expanduser().absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _refusal(folder: Path) -> str | None:
    """Why nothing can be written into a folder that may still have to be made; None where it can."""
    standing = _standing(folder)
    if not standing.is_dir():
        return f"{folder} cannot be made, as {standing} is a file: choose another place"
    if not os.access(standing, os.W_OK | os.X_OK):
        return f"{standing} is not writable: change its permissions, or choose another place for {folder.name}"
    return None


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, such as `ext4` or `nfs4`."""
    best, kind = "", "unknown file system"
    resolved = str(folder.resolve())
    for partition in psutil.disk_partitions(all=True):
        mount = partition.mountpoint.rstrip("/")
        if (resolved == mount or resolved.startswith(mount + "/")) and len(mount) >= len(best):
            best, kind = mount, partition.fstype or kind
    return kind


def _lock_refusal(folder: Path) -> str | None:
    """Why an fcntl lock cannot be had in a folder; None where it can. The file that is tried on vanishes."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return f"without file locks ({error.strerror})"
    return None
