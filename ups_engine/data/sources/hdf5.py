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

from ups_engine.data.sources.array import FieldArray, Stored
from ups_engine.data.sources.base import Source
from ups_engine.data.sources.extent import pointed_to, rows_at
from ups_engine.data.sources.files import PARAMETERS, FileName, parse_name
from ups_engine.data.sources.gap import Gap
from ups_engine.data.sources.info import SourceInfo
from ups_engine.data.tasks.base import RESERVED
from ups_engine.discretisation.arrays import Float64, Int64, Values, values_format
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
        self._opened: dict[str, FieldArray] = {}
        try:
            self._look()
        except BaseException:
            self.close()  # else the message, kept, keeps the file from being mended
            raise

    def _look(self) -> None:
        """Take in what the file says of itself."""
        file, path = self._file(), self.path
        with readable(path):
            info, self._stored = self.describe(file)
            said = number_attribute(file, "dt")
            if said is not None and info.dt is not None and not math.isclose(said, info.dt, rel_tol=1e-4):
                note = f"the attribute dt of the file says {said:g}, its time axis {info.dt:g}: the time axis is taken"
                info = replace(info, notes=(*info.notes, note))
            self._holders = (path, *pointed_to(file))
            self._gaps = {field: tuple(self._array(field).gaps()) for field in self._stored}
            name = parse_name(path)
            self._parameters = read_parameters(file, name, info.trajectories)
            parameters, size = tuple(self._parameters), path.stat().st_size
            self.info = replace(info, parameters=parameters, bytes=size, files=(path,), split=name.split)
            self._gap = _gap(self._array(next(iter(self._stored))))

    @classmethod
    @abstractmethod
    def matches(cls, file: h5py.File) -> bool:
        """Whether the file's content is of this layout."""

    @abstractmethod
    def describe(self, file: h5py.File) -> tuple[SourceInfo, dict[str, Stored]]:
        """The description, without PDE parameters, files and split, and where every field lies by its name."""

    def read_span(self, trajectory: int, start: int, stop: int, fields: tuple[str, ...]) -> Values:
        """See `Source.read_span`."""
        blocks: list[Values] = []
        number_format = values_format(spec.dtype for spec in self.info.field_specs(fields))
        with readable(self.path):
            for name in fields:
                block: Values = self._array(name)[trajectory, start:stop].astype(number_format, copy=False)
                if block.ndim == 1 + len(self.info.resolution):
                    block = block[..., np.newaxis]
                blocks.append(block)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=-1)

    def head(self, trajectory: int, frame: int = 0) -> bytes:
        """See `Source.head`."""
        array = self._array(self.info.fields[0].name)
        row_bytes = math.prod(array.shape[3:]) * array.itemsize
        with readable(self.path):
            values = array[trajectory, frame, : max(1, _HEAD_BYTES // row_bytes)]
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
            arrays = [self._array(field) for field in self._stored]
            return {row for array in arrays for row in array.trajectories_of(rows_at(array.dataset, places))}

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

    def _array(self, field: str) -> FieldArray:
        """A field's array in this process's file; looking it up anew costs as much as reading a frame."""
        file = self._file()
        if field not in self._opened:
            stored = self._stored[field]
            self._opened[field] = FieldArray(file[stored.dataset], stored)
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
    """A root attribute that is one number, or None."""
    value = np.ravel(file.attrs.get(key, ()))
    return float(value[0]) if value.size == 1 and value.dtype.kind in "fiu" else None


def text_attribute(holder: h5py.File | h5py.Dataset, *keys: str) -> str | None:
    """The first of these attributes that is text, or None."""
    for key in keys:
        value = holder.attrs.get(key)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.flat[0]
        if isinstance(value, bytes | str):
            return value.decode() if isinstance(value, bytes) else str(value)
    return None


def _gap(array: FieldArray) -> int:
    """Frames worth reading through: up to `_GAP_BYTES`, and never less than one chunk, which is read whole anyway."""
    frame_bytes = math.prod(array.shape[2:]) * array.itemsize
    chunk = array.chunks[1] if array.chunks else 0
    return max(_GAP_BYTES // max(1, frame_bytes), chunk)
