"""Which files a path, or a task under the data root, stands for."""

import glob
from pathlib import Path

from ups_engine.data.sources.names import SUFFIXES, natural_key, parse_name
from ups_engine.errors import DataError

_SPLIT_ORDER = {"train": 0, None: 0, "val": 1, "test": 2}


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


def of_task(files: list[Path], task: str) -> list[Path]:
    """The files named for a task where files are named for several; all of them otherwise."""
    tasks = {file: parse_name(file).task for file in files}
    mine = [file for file in files if tasks[file] == task]
    return mine if len(set(tasks.values())) > 1 and mine else files


def _is_data(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _ordered(files: list[Path]) -> list[Path]:
    return sorted(files, key=lambda file: (_SPLIT_ORDER[parse_name(file).split], natural_key(file)))
