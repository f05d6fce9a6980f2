"""Which files a path, or a task under the data root, stands for, and what their names say."""

import glob
import re
from dataclasses import dataclass, field
from pathlib import Path

from ups_engine.data.tasks import TASKS
from ups_engine.errors import DataError

_SYMBOLS = {p.written: p.name for task in TASKS.values() for p in task.parameters}
PARAMETERS = tuple(dict.fromkeys(_SYMBOLS.values()))
"""Parameters of PDEs, as they are called in HDF5 attributes."""
SPLIT_WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = (".hdf5", ".h5", ".hdf", ".he5")

_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?"
_NAMES = "|".join((*PARAMETERS, *(f"(?-i:{symbol})" for symbol in _SYMBOLS)))  # symbols are told apart by case
_PARAMETER = re.compile(rf"(?:^|_)({_NAMES})({_NUMBER})(?=_|$)", re.I)
_CONVERTED = re.compile(r"^(?P<task>[a-z][a-z0-9_]*?)_(?P<split>train|validation|valid|val|test)(?=_|$)", re.I)
_SPLIT_ORDER = {"train": 0, None: 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class FileName:
    """What a file's name declares; None or empty where it is silent."""

    task: str | None = None
    split: str | None = None
    parameters: dict[str, float] = field(default_factory=dict)
    periodic: bool | None = None


def parse_name(path: Path) -> FileName:
    """Read a file name of PDEBench (`1D_Burgers_Sols_Nu0.01.hdf5`) or of converted data (`burgers1d_train_0.h5`).

    PDEBench's own suffix `_Train` is no split: the file holds all there is.
    """
    # without its HDF5 suffix; `Path.stem` would take the decimals of `Nu0.01` for one
    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    parameters = {_SYMBOLS.get(m[1], m[1].lower()): float(m[2]) for m in _PARAMETER.finditer(name)}
    titled = [task for task in TASKS.values() if name.lower().startswith(task.title.lower())]
    if titled:
        task, words = max(titled, key=lambda task: len(task.title)).name, name.lower().split("_")
        wraps = True if always_wraps(task) or "periodic" in words else False if "trans" in words else None
        return FileName(task, None, parameters, wraps)
    converted = _CONVERTED.match(name)
    if converted is None:
        return FileName(parameters=parameters)
    task = converted["task"].lower()
    return FileName(task, SPLIT_WORDS[converted["split"].lower()], parameters, always_wraps(task) or None)


def always_wraps(task: str) -> bool:
    """Whether a task's simulations are periodic along every axis, always."""
    return task in TASKS and all(TASKS[task].periodic)


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts shard 2 before shard 10."""
    pieces = re.split(r"([0-9]+)", path.name)  # every other piece is a number; \d would match more than int reads
    return tuple((0, int(piece)) if odd % 2 else (1, piece) for odd, piece in enumerate(pieces))


def expand(path: Path | str) -> list[Path]:
    """The files of a file, folder or pattern, in order: training files first, shard 2 before shard 10.

    A folder stands for the HDF5 files directly in it.

    Raises:
        DataError: nothing there.
    """
    text = str(Path(path).expanduser())
    given = Path(text)
    if given.is_dir():
        found = [file for file in given.iterdir() if _is_data(file)]
        if not found:
            raise DataError(f"{path} holds no HDF5 files", f"UPS reads {', '.join(SUFFIXES)}; is it the right folder?")
    elif given.exists():
        return [given]
    elif glob.has_magic(text):
        found = [file for file in Path(given.anchor).glob(text[len(given.anchor) :]) if file.is_file()]
        if not found:
            raise DataError(f"no file matches {path}", "quote the pattern, so that the shell leaves it alone")
    else:
        raise DataError(f"no such file or folder: {path}", "give data.path a file, a folder or a quoted pattern")
    return _ordered(found)


def find_task(root: Path, task: str) -> list[Path]:
    """Files of a task directly under the data root: `{task}_{split}.h5` and its shards, else PDEBench's names.

    Returns:
        Files in order; empty where there are none.
    """
    if not root.is_dir():
        return []
    mine = [file for file in root.iterdir() if _is_data(file) and parse_name(file).task == task]
    converted = [file for file in mine if parse_name(file).split is not None]
    return _ordered(converted or mine)


def _is_data(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _ordered(files: list[Path]) -> list[Path]:
    return sorted(files, key=lambda file: (_SPLIT_ORDER[parse_name(file).split], natural_key(file)))
