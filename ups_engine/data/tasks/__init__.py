"""The PDEs that UPS knows: every module beside this one that has a `TASK` declares one."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module

from ups_engine.data.tasks.base import Solver, Task
from ups_engine.errors import DataError

_MODULES = (import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
TASKS: Mapping[str, Task] = {task.name: task for module in _MODULES if (task := getattr(module, "TASK", None))}
"""By name, in the order of the files."""
SOLVED: Mapping[str, Task] = {name: task for name, task in TASKS.items() if task.solver is not None}
"""Those that UPS solves itself."""


def solved_task(name: str) -> tuple[Task, Solver]:
    """The task of this name, and its solver.

    Raises:
        DataError: UPS has no solver for it.
    """
    task = TASKS.get(name)
    if task is None or task.solver is None:
        *others, last = SOLVED
        can = f"{', '.join(others)} and {last}" if others else last
        raise DataError(f"UPS has no solver for task {name!r}", f"it can make {can}")
    return task, task.solver
