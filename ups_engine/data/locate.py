"""From settings to files: a path that was given, files of the task under the data root, or data made now."""

from collections.abc import Callable
from pathlib import Path

from ups_engine.config.data import DataSettings
from ups_engine.data.generate.write import TASKS, make_or_reuse
from ups_engine.data.sources.files import expand, find_task, of_task
from ups_engine.errors import DataError


def generated_folder(data: DataSettings) -> Path:
    """Where data made by UPS is kept."""
    return Path(data.root).expanduser() / "generated"


def locate_data(data: DataSettings, notify: Callable[[str], None]) -> list[Path]:
    """The files that the settings stand for, made first if need be.

    Args:
        data: `path` counts first, then files of `task` under `root`, then `generate`.
        notify: is told what was found or made.

    Raises:
        DataError: nothing there, and no solver for the task.
    """
    if data.path is not None:
        return of_task(expand(data.path), data.task)
    root = Path(data.root).expanduser()
    found = find_task(root, data.task)
    if found:
        notify(
            f"data: {len(found)} file{'s' * (len(found) > 1)} of {data.task} in {root}: {found[0].name}"
            + (" ..." if len(found) > 1 else "")
        )
        return found
    if data.task not in TASKS:
        raise DataError(
            f"no files of task {data.task!r} in {root}, and UPS has no solver for it",
            f"give files with --data PATH or --set data.root=FOLDER; solvers: {', '.join(sorted(TASKS))}",
        )
    return [make_or_reuse(data.task, data.generate, generated_folder(data), notify)]
