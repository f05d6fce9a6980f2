"""What the names of data files say: task, split, PDE parameters, boundary."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from ups_engine.data.tasks import TASKS

_SYMBOLS = {p.written: p.name for task in TASKS.values() for p in task.parameters}
PARAMETERS = tuple(dict.fromkeys(_SYMBOLS.values()))
"""Parameters of PDEs, as they are called in HDF5 attributes."""
SPLIT_WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = (".hdf5", ".h5", ".hdf", ".he5")

_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?"
_NAMES = "|".join((*PARAMETERS, *(f"(?-i:{symbol})" for symbol in _SYMBOLS)))  # symbols are told apart by case
_PARAMETER = re.compile(rf"(?:^|_)({_NAMES})({_NUMBER})(?=_|$)", re.I)
_CONVERTED = re.compile(r"^(?P<task>[a-z][a-z0-9_]*?)_(?P<split>train|validation|valid|val|test)(?=_|$)", re.I)


@dataclass(frozen=True)
class FileName:
    """What a file's name declares; None or empty where it is silent."""

    task: str | None = None
    split: str | None = None
    parameters: dict[str, float] = field(default_factory=dict)
    periodic: bool | None = None


def stem(path: Path) -> str:
    """The name without its HDF5 suffix. `Path.stem` would take the decimals of `Nu0.01` for one."""
    suffix = path.suffix.lower()
    return path.name[: -len(suffix)] if suffix in SUFFIXES else path.name


def parse_name(path: Path) -> FileName:
    """Read a file name of PDEBench (`1D_Burgers_Sols_Nu0.01.hdf5`) or of converted data (`burgers1d_train_0.h5`).

    PDEBench's own suffix `_Train` is no split: the file holds all there is.
    """
    name = stem(path)
    parameters = {_SYMBOLS.get(m[1], m[1].lower()): float(m[2]) for m in _PARAMETER.finditer(name)}
    titled = [task for task in TASKS.values() if name.lower().startswith(task.title.lower())]
    if titled:
        task, words = max(titled, key=lambda task: len(task.title)).name, name.lower().split("_")
        wraps = True if _wraps(task) or "periodic" in words else False if "trans" in words else None
        return FileName(task, None, parameters, wraps)
    converted = _CONVERTED.match(name)
    if converted is None:
        return FileName(parameters=parameters)
    task = converted["task"].lower()
    return FileName(task, SPLIT_WORDS[converted["split"].lower()], parameters, _wraps(task) or None)


def _wraps(task: str) -> bool:
    """Whether a task's simulations are periodic along every axis, always."""
    return task in TASKS and all(TASKS[task].periodic)


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts shard 2 before shard 10."""
    pieces = re.split(r"([0-9]+)", path.name)  # every other piece is a number; \d would match more than int reads
    return tuple((0, int(piece)) if odd % 2 else (1, piece) for odd, piece in enumerate(pieces))
