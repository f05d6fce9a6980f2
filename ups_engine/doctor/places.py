"""The folders that UPS writes to: room, permission, and file locks."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import psutil

from ups_engine.preflight.verdict import Check
from ups_engine.telemetry.units import human_bytes

_LOW, _EMPTY = 2 << 30, 64 << 20
_KEYS = {"runs": "runs.root", "data": "data.root", "cache": "latent.cache_dir"}


def check_place(name: str, folder: Path) -> Check:
    """Whether a folder, or the one in which it would be made, has room, can be written to, and has file locks.

    Args:
        name: `runs`, `data` or `cache`.
        folder: it need not exist yet.
    """
    place = folder.expanduser().absolute()
    standing = next(path for path in (place, *place.parents) if path.exists())
    standing = standing if standing.is_dir() else standing.parent
    free = shutil.disk_usage(standing).free
    where = f"{place} ({_file_system(standing)}): {human_bytes(free)} free"
    elsewhere = f"set {_KEYS[name]} to another folder"
    if not os.access(standing, os.W_OK | os.X_OK):
        if name == "data" and place.exists():
            return Check(name, "good", f"{where}, read only, which is enough for data that are there")
        return Check(name, "bad", f"{where}, but it cannot be written to: change its permissions, or {elsewhere}")
    if free < _EMPTY:
        return Check(name, "bad", f"{where}, which is too little for anything: free some, or {elsewhere}")
    refusal = _lock_refusal(standing)
    if refusal is not None and name != "data":
        # The cache is shared by locks and cannot do without; a run's owner is known by its process too.
        lost = "caches cannot be built there" if name == "cache" else "two processes on two machines could take one run"
        return Check(name, "bad" if name == "cache" else "warning", f"{where}, {refusal}: {lost}; {elsewhere}")
    if free < _LOW:
        return Check(name, "warning", f"{where}, which is little: checkpoints and latents may not fit")
    return Check(name, "good", f"{where}, writable{'' if refusal else ', with file locks'}")


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
