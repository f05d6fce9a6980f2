"""What all HDF5 layouts share: opening safely, lazy contiguous reads, parameters, checked axes."""

import json
import math
import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ups_engine.data.sources.absent import find_gaps, require_filters
from ups_engine.data.sources.base import Source, SourceInfo
from ups_engine.data.sources.extent import pointed_to, rows_at
from ups_engine.data.sources.files import PARAMETERS, FileName, parse_name
from ups_engine.data.sources.gap import Gap
from ups_engine.data.tasks.base import RESERVED
from ups_engine.discretisation.arrays import Float32, Float64, Int64
from ups_engine.errors import DataError

GENERATED = "ups_generate"
"""Root attribute of files that UPS made: all that their content depends on, as JSON."""
_HEAD_BYTES = 64 * 1024
_GAP_BYTES = 128 * 1024  # read through gaps of this size: about what one more HDF5 read costs


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the operating system and HDF5 raise about a file into one clear message.

    Raises:
        DataError: instead of OSError, and of RuntimeError and KeyError, which damaged files make HDF5 raise.
    """
    try:
        yield
    except FileNotFoundError as problem:
        raise DataError(f"no such file: {path}", "check data.path and data.root: ups config show --origin") from problem
    except PermissionError as problem:
        raise DataError(f"{path} may not be read by this user", "ask its owner, or chmod +r") from problem
    except IsADirectoryError as problem:
        raise DataError(f"{path} is a folder, not a file") from problem
    except (OSError, RuntimeError, KeyError) as problem:
        text = " ".join(str(problem).split())
        if "file signature not found" in text:
            raise DataError(
                f"{path} is not an HDF5 file",
                "is it the data itself, and not a page or an archive that holds it?",
            ) from problem
        if "truncated file" in text:
            raise DataError(
                f"{path} is truncated: it is {path.stat().st_size} bytes long and should be longer",
                "copy or download it again",
            ) from problem
        raise DataError(f"{path} cannot be read: {text}", "it may be damaged; copy or download it again") from problem


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading, without locks, so that read-only and network mounts work.

    Raises:
        DataError: missing, unreadable, truncated, or no HDF5 file.
    """
    with readable(path):
        return h5py.File(path, "r", locking=False)


class Hdf5Source(Source):
    """One HDF5 file whose fields are arrays (N, T, *space) or (N, T, *space, C).

    A layout says in `matches` which files are its own and describes them in `describe`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: tuple[int, h5py.File] | None = None
        self._opened: dict[str, h5py.Dataset] = {}
        file = self._file()
        with readable(path):
            for key in file:
                if key.endswith("-coordinate") and isinstance(file.get(key), h5py.Dataset):
                    require_filters(file[key])
            info, self._datasets = self.describe(file)
            self._holders = (path, *pointed_to(file))
            self._gaps = {field: tuple(find_gaps(file[dataset])) for field, dataset in self._datasets.items()}
            name = parse_name(path)
            self._parameters = read_parameters(file, name, info.trajectories)
            parameters, size = tuple(self._parameters), path.stat().st_size
            self.info = replace(info, parameters=parameters, bytes=size, files=(path,), split=name.split)
            self._gap = _gap(file[next(iter(self._datasets.values()))])

    @classmethod
    @abstractmethod
    def matches(cls, file: h5py.File) -> bool:
        """Whether the file's content is of this layout."""

    @abstractmethod
    def describe(self, file: h5py.File) -> tuple[SourceInfo, dict[str, str]]:
        """The description, without PDE parameters, files and split, and the HDF5 dataset of every field by its name."""

    def read_span(self, trajectory: int, start: int, stop: int, fields: tuple[str, ...]) -> Float32:
        """See `Source.read_span`."""
        blocks: list[Float32] = []
        with readable(self.path):
            for name in fields:
                block = self._dataset(name)[trajectory, start:stop].astype(np.float32, copy=False)
                if block.ndim == 1 + len(self.info.resolution):
                    block = block[..., np.newaxis]
                blocks.append(block)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=-1)

    def head(self, trajectory: int, frame: int = 0) -> bytes:
        """See `Source.head`."""
        dataset = self._dataset(self.info.fields[0].name)
        row_bytes = math.prod(dataset.shape[3:]) * dataset.dtype.itemsize
        with readable(self.path):
            values = dataset[trajectory, frame, : max(1, _HEAD_BYTES // row_bytes)]
        return np.ascontiguousarray(values).tobytes()[:_HEAD_BYTES]

    def parameters(self, trajectories: Sequence[int] | Int64) -> Float64:
        """See `Source.parameters`."""
        rows = np.asarray(trajectories, dtype=np.int64)
        columns = [self._parameters[name][rows] for name in self.info.parameters]
        return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))

    def holders(self) -> tuple[Path, ...]:
        """See `Source.holders`."""
        return self._holders

    def rows_at(self, file: Path, places: Sequence[range]) -> set[int]:
        """See `Source.rows_at`."""
        if file != self.path:
            return set()
        with readable(file):
            return {row for field in self._datasets for row in rows_at(self._dataset(field), places)}

    def gaps(self, fields: Sequence[str] = ()) -> tuple[Gap, ...]:
        """See `Source.gaps`."""
        return tuple(gap for field in fields or self._gaps for gap in self._gaps[field])

    def frame_gap(self, trajectory: int) -> int:
        """See `Source.frame_gap`."""
        return self._gap

    def close(self) -> None:
        """See `Source.close`."""
        if self._handle is not None and self._handle[0] == os.getpid():
            self._handle[1].close()
        self._handle = None
        self._opened = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_opened": {}}

    def _file(self) -> h5py.File:
        """The open file of this process. A handle inherited through fork is left alone, not closed."""
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = (os.getpid(), open_hdf5(self.path))
            self._opened = {}
        return self._handle[1]

    def _dataset(self, field: str) -> h5py.Dataset:
        """A field's dataset in this process's file; looking it up anew costs as much as reading a frame."""
        file = self._file()
        if field not in self._opened:
            self._opened[field] = file[self._datasets[field]]
        return self._opened[field]


def read_parameters(file: h5py.File, name: FileName, trajectories: int) -> dict[str, Float64]:
    """PDE parameters per trajectory: HDF5 attributes (a number, or one per trajectory) before the file's name.

    Parameters are those of declared tasks, and those that a file made by UPS says it has.
    """
    known = (*PARAMETERS, *sorted(set(generated_with(file)) - {*RESERVED, *PARAMETERS}))
    found: dict[str, Float64] = {
        key: np.full(trajectories, value) for key, value in name.parameters.items() if np.isfinite(value)
    }
    for key, value in file.attrs.items():
        if key.lower() not in known:
            continue
        values = np.asarray(value)
        if not np.issubdtype(values.dtype, np.number) or values.shape not in ((), (1,), (trajectories,)):
            raise DataError(
                f"{file.filename}: attribute {key!r} is neither a number nor one number for each trajectory"
            )
        found[key.lower()] = np.broadcast_to(values.astype(np.float64), (trajectories,)).copy()
    return {key: found[key] for key in known if key in found}


def generated_with(file: h5py.File) -> dict[str, Any]:
    """All that the content of a file made by UPS depends on; nothing for other files."""
    try:
        stored = json.loads(file.attrs[GENERATED])
    except (KeyError, TypeError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def number_attribute(file: h5py.File, key: str) -> float | None:
    """A root attribute that is a number, or None."""
    value = np.asarray(file.attrs[key]) if key in file.attrs else None
    return float(value) if value is not None and value.shape == () and np.issubdtype(value.dtype, np.number) else None


def text_attribute(holder: h5py.File | h5py.Dataset, *keys: str) -> str | None:
    """The first of these attributes that is text, or None."""
    for key in keys:
        value = holder.attrs.get(key)
        if isinstance(value, bytes | str):
            return value.decode() if isinstance(value, bytes) else str(value)
    return None


def time_axis(stored: np.ndarray, frames: int, where: str) -> tuple[Float64, float | None]:
    """Cut a stored time axis to the frames (PDEBench's is one longer) and find the time between frames.

    Returns:
        (frames,) times, and their mean spacing; None for a single frame.

    Raises:
        DataError: too short, not rising, or spaced unevenly beyond float32 rounding.
    """
    time = _axis(stored, frames, where, "t-coordinate")
    return time, (_spacing(time, where, "t-coordinate") if frames > 1 else None)


def space_axis(stored: np.ndarray, points: int, where: str, name: str) -> Float64:
    """Cut a stored coordinate to the grid's points.

    Raises:
        DataError: too short, not rising, or spaced unevenly.
    """
    axis = _axis(stored, points, where, name)
    if points > 1:
        _spacing(axis, where, name)
    return axis


def _spacing(axis: Float64, where: str, name: str) -> float:
    """Mean spacing of an even axis.

    An axis stored in float32 is even where its steps differ by no more than the rounding of its largest value,
    which `t += dt` in float32 reaches too.

    Raises:
        DataError: steps that fall or differ by more than that.
    """
    steps = np.diff(axis)
    mean = float((axis[-1] - axis[0]) / (len(axis) - 1))
    rounding = 8 * float(np.finfo(np.float32).eps) * float(np.abs(axis).max())
    if not mean > 0 or not steps.min() > 0:
        raise DataError(f"{where}: {name} does not rise")
    worst = int(np.abs(steps - mean).argmax())
    if abs(steps[worst] - mean) > rounding + 1e-5 * mean:
        raise DataError(
            f"{where}: {name} is spaced unevenly: step {worst} is {steps[worst]:.6g}, the mean {mean:.6g}",
            "UPS reads data that is even in time and space; resample it",
        )
    return float(f"{mean:.7g}")  # the digits that float32 coordinates carry


def _axis(stored: np.ndarray, length: int, where: str, name: str) -> Float64:
    if stored.ndim != 1 or len(stored) < length:
        raise DataError(f"{where}: {name} has shape {stored.shape}, too short for {length} points")
    axis = stored[:length].astype(np.float64)
    if not np.isfinite(axis).all():
        raise DataError(f"{where}: {name} holds non-finite values")
    return axis


def _gap(dataset: h5py.Dataset) -> int:
    """Frames worth reading through: up to `_GAP_BYTES`, and never less than one chunk, which is read whole anyway."""
    frame_bytes = math.prod(dataset.shape[2:]) * int(dataset.dtype.itemsize)
    chunk = int(dataset.chunks[1]) if dataset.chunks else 0
    return int(max(_GAP_BYTES // max(1, frame_bytes), chunk))
