"""From settings to files: a path that was given, files of the task under the data root, or data made now."""

from collections.abc import Callable
from pathlib import Path

from ups_engine.config.data import DataSettings
from ups_engine.data.generate.write import TASKS, Advance, generated_task, make_or_reuse
from ups_engine.data.sources.files import expand, find_task, of_task
from ups_engine.errors import DataError


def generated_path(task: str, data: DataSettings) -> Path:
    """Where the data of these settings is kept when UPS makes it."""
    return Path(data.root).expanduser() / "generated" / generated_task(task).file_name(data.generate)


def find_data(data: DataSettings) -> list[Path]:
    """The files that are there already for these settings; none where UPS would make them.

    Args:
        data: `path` counts first, then files of `task` under `root`.

    Raises:
        DataError: nothing there, and no solver for the task.
    """
    if data.path is not None:
        return of_task(expand(data.path), data.task)
    root = Path(data.root).expanduser()
    found = find_task(root, data.task)
    if not found and data.task not in TASKS:
        raise DataError(
            f"no files of task {data.task!r} in {root}, and UPS has no solver for it",
            f"give files with --data PATH or --set data.root=FOLDER; solvers: {', '.join(sorted(TASKS))}",
        )
    return found


def locate_data(
    data: DataSettings, notify: Callable[[str], None], advance: Advance = lambda what, done, total: None
) -> list[Path]:
    """The files that the settings stand for, made first if need be.

    Args:
        data: as for `find_data`, then `generate`.
        notify: is told what was found or made.
        advance: told (what, done, total) again and again while data is made; may raise to stop that.

    Raises:
        DataError: as `find_data`, or the data cannot be made.
    """
    found = find_data(data)
    if not found:
        path = generated_path(data.task, data)
        return [make_or_reuse(data.task, data.generate, path, notify, advance, replace=True)]
    if data.path is None:
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        notify(f"data of {data.task}: {found[0]}{others}")
    return found
