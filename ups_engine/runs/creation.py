"""Making the folder of a new run, without ever touching what is there already, and which UPS made it."""

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ups_engine.errors import RunError, UsageError
from ups_engine.runs.atomic import explaining_disk_errors, fsync, write_text

RECORD = "run.json"
"""Name of the file that makes a folder a run."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_name(name: str) -> None:
    """Make sure that a run's name can be a folder's.

    Raises:
        UsageError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a run",
            "use letters, digits, dots, dashes and underscores, the first a letter or digit",
        )


def new_folder(root: Path, name: str | None, task: str) -> Path:
    """Make the folder of a new run under `root`.

    Args:
        root: made when absent.
        name: of the folder; None names it `<task>-<YYYYmmdd-HHMMSS>`, with a number behind it when that is taken.
        task: its name.

    Raises:
        UsageError: the name cannot be a folder's.
        RunError: it exists, or the disk refuses.
    """
    if name is not None:
        check_name(name)
        if not _made(root / name):
            raise RunError(
                f"{root / name} exists already; nothing was changed",
                f"choose another name, or go on with that run: ups train --resume {name}",
            )
        return root / name
    plain_task = re.sub(r"[^A-Za-z0-9._]+", "-", task).strip("-.") or "run"
    path = stem = root / f"{plain_task}-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while not _made(path):
        number += 1
        path = stem.with_name(f"{stem.name}-{number}")
    return path


def given_folder(path: Path) -> Path:
    """Make the folder that a user chose, or take it when it is empty.

    Returns:
        Its absolute path.

    Raises:
        RunError: something is there already, or the disk refuses.
    """
    path = path.expanduser().absolute()
    hint = "choose another --run-dir; nothing was changed"
    with explaining_disk_errors(path):
        if _made(path):
            return path
        if (path / RECORD).is_file():
            raise RunError(f"{path} already holds a run", f"go on with it by --resume {path}, or {hint}")
        if not path.is_dir() or any(path.iterdir()):
            raise RunError(f"{path} is not an empty folder", hint)
    return path


def fill(path: Path, folders: Sequence[str], files: Mapping[str, str]) -> None:
    """Put the first folders and files into an empty folder, or leave it as empty as it was.

    Args:
        path: the folder.
        folders: to make in it; of two processes that fill the same folder only one can make the first.
        files: texts by name, written durably in this order.

    Raises:
        RunError: another process fills it too, or the disk refuses.
    """
    if not _made(path / folders[0]):
        raise RunError(f"{path} was just taken by another run", "start again with another folder")
    try:
        for name in folders[1:]:
            _made(path / name)
        for name, text in files.items():
            write_text(path / name, text)
        with explaining_disk_errors(path):
            fsync(path.parent)
    except BaseException:
        for name in folders:
            shutil.rmtree(path / name.partition("/")[0], ignore_errors=True)
        for name in files:
            with suppress(OSError):
                (path / name).unlink(missing_ok=True)
        raise


def source_commit() -> str | None:
    """Name the git commit of UPS's own source tree, with `-dirty` behind it when files were changed.

    Returns:
        None for an installed UPS, even where its virtual environment lies inside somebody's repository.
    """
    source = Path(__file__).parents[2]
    if not (source / ".git").exists():
        return None
    import subprocess  # only a new run needs it

    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _made(path: Path) -> bool:
    """Make a folder and those above it; False when it exists, and of two callers at once only one gets True."""
    with explaining_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            return False
    return True
