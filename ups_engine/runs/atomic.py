"""Files that are either the old ones or the new ones, whatever happens in between.

The order is always the same: write under a temporary name in the same folder, fsync, rename, fsync the folder.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ups_engine.errors import RunError
from ups_engine.runs import strict_json

_FULL = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file size limit is reached",
}
_TEMPORARY = ".tmp"


def write_bytes(path: Path, data: bytes) -> None:
    """Create or replace a file, atomically and durably.

    Raises:
        RunError: the disk is full or refuses the write; what was there before is intact.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Like `write_bytes`, for text, stored as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Like `write_bytes`, for a value as indented, strict JSON."""
    write_text(path, strict_json.dumps(value, indent=2) + "\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to fill; at the end of the block it becomes `path`, or vanishes if the block raised.

    Raises:
        RunError: the disk is full or refuses the write; what was there before is intact.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{_TEMPORARY}")
    with explaining_disk_errors(path):
        try:
            yield temporary
            fsync(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        fsync(path.parent)


def fsync(path: Path) -> None:
    """Force a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; they order renames themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


@contextmanager
def explaining_disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a RunError that says which folder is concerned and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise RunError(
                f"cannot write {path.name}: {_FULL[error.errno]} in {path.parent}",
                f"free some space there ({_free(path.parent)} left) and start again; what was stored before is intact",
            ) from error
        reason = error.strerror or str(error)
        hint = f"make sure that {path.parent} exists and can be written to"
        raise RunError(f"cannot write {path}: {reason}", hint) from error


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed writer left behind. Only for a folder in which nobody else writes now."""
    with suppress(OSError):
        for leftover in folder.glob(f".*{_TEMPORARY}"):
            leftover.unlink(missing_ok=True)


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB"
    except OSError:
        return "nothing"
