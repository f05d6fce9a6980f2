"""A field's values as an HDF5 file stores them, read in UPS's order of axes and with its metadata applied."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np

from ups_engine.data.sources.absent import find_gaps, require_filters
from ups_engine.data.sources.dimensions import Arrangement
from ups_engine.data.sources.gap import Gap
from ups_engine.discretisation.sample import AXES
from ups_engine.errors import DataError

_NETCDF_FILL = 9.969209968386869e36
"""What NetCDF libraries write where nothing was, of single and of double precision, said in HDF5's own fill value."""


@dataclass(frozen=True)
class Stored:
    """Where a field lies in a file.

    Attributes:
        dataset: its name.
        order: the stored axis of each axis (N, T, *space) or (N, T, *space, C).
        falling: axes, counted in that order, along which positions fall: they are read from the last point.
    """

    dataset: str
    order: tuple[int, ...]
    falling: tuple[int, ...] = ()


class FieldArray:
    """A dataset, indexed as if it were stored (N, T, *space) or (N, T, *space, C).

    Values that equal the attribute `_FillValue` or `missing_value` are read as NaN; `scale_factor` and `add_offset` are
    applied in float64; integers are read as float64.

    Args:
        dataset: opened.
        stored: how its axes lie.

    Raises:
        DataError: an attribute that is no number, a factor that is zero or not finite, or numbers without sign stored
            as numbers with sign.
    """

    def __init__(self, dataset: h5py.Dataset, stored: Stored) -> None:
        self.dataset, self._order, self.falling = dataset, stored.order, stored.falling
        self._fills = _fills(dataset)
        self._factor, self._offset = _scaling(dataset)
        if dataset.dtype.kind == "i" and str(dataset.attrs.get("_Unsigned", "false")).lower() == "true":
            raise DataError(
                f"{dataset.file.filename}: {dataset.name.lstrip('/')} holds {dataset.dtype} that stand for numbers"
                " without sign (_Unsigned)",
                "write it with a type that says so, such as uint8 for int8",
            )
        self._integer = dataset.dtype.kind in "iu"
        self._scaled = (self._factor, self._offset) != (1.0, 0.0)
        self._straight = self._order == tuple(range(len(self._order))) and not self.falling

    @property
    def shape(self) -> tuple[int, ...]:
        """Trajectories, frames, points of each axis, and channels where it stores them."""
        return tuple(self.dataset.shape[axis] for axis in self._order)

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Extent of a chunk along the same axes."""
        return self.dataset.chunks and tuple(self.dataset.chunks[axis] for axis in self._order)

    @property
    def dtype(self) -> str:
        """Number format of values: as stored, or what they are unpacked to."""
        return "float64" if self._scaled else str(self.dataset.dtype)

    @property
    def itemsize(self) -> int:
        """Bytes of a stored value."""
        return int(self.dataset.dtype.itemsize)

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        """Values at indices and slices of the first axes, physical where the file says how."""
        values = self.dataset[key] if self._straight else self._turned(key)
        if self._integer or self._scaled or self._fills.size:
            values = self._decoded(values)
        return values

    def gaps(self) -> list[Gap]:
        """See `find_gaps`."""
        return [
            replace(gap, trajectories=frozenset(self.trajectories_of(gap.trajectories)))
            for gap in find_gaps(self.dataset)
        ]

    def trajectories_of(self, rows: Iterable[int]) -> set[int]:
        """Those that have values in rows along the first stored axis; all, where that is not theirs."""
        touched = set(rows)
        return touched if self._order[0] == 0 or not touched else set(range(self.shape[0]))

    def meanings(self) -> Iterator[str]:
        """What is done to stored values before they are used, in sentences."""
        name = self.dataset.name.lstrip("/")
        if self._scaled:
            shift = f" + {self._offset:g}" if self._offset else ""
            yield f"{name} is read as what is stored * {self._factor:g}{shift}, as its attributes say"
        if self._fills.size:
            marks = " and ".join(f"{mark:g}" for mark in self._fills)
            yield f"values of {name} that equal {marks} are absent, as its attributes say, and never used"

    @property
    def scaled(self) -> bool:
        """Whether values are other than stored."""
        return self._scaled

    def _decoded(self, values: np.ndarray) -> np.ndarray:
        absent = np.isin(values, self._fills) if self._fills.size else None
        if self._integer or self._scaled:
            values = values.astype(np.float64) * self._factor + self._offset
        if absent is not None and absent.any():
            values[absent] = np.nan
        return values

    def _turned(self, key: tuple[int | slice, ...]) -> np.ndarray:
        """Values of an array whose axes are stored in another order, or fall."""
        shape = self.shape
        whole: list[int | slice] = [*key, *(slice(None) for _ in range(len(shape) - len(key)))]
        for axis in self.falling:
            start, stop, _ = whole[axis].indices(shape[axis])  # type: ignore[union-attr]  # space is sliced, always
            whole[axis] = slice(shape[axis] - stop, shape[axis] - start)
        at: list[Any] = [None] * len(shape)
        for axis, stored in enumerate(self._order):
            at[stored] = whole[axis]
        kept = [axis for axis, part in enumerate(whole) if isinstance(part, slice)]
        places = sorted(self._order[axis] for axis in kept)
        values = self.dataset[tuple(at)].transpose([places.index(self._order[axis]) for axis in kept])
        return values[tuple(slice(None, None, -1 if axis in self.falling else 1) for axis in kept)]


def as_read(found: Arrangement, arrays: Sequence[FieldArray]) -> str:
    """What makes other values of the same bytes, in words: part of the data's format, and so of its identity."""
    turned = f", axes stored as {','.join(map(str, found.order))}" if found.said_by else ""
    return turned + (", scaled" if any(array.scaled for array in arrays) else "")


def how_read(found: Arrangement, arrays: Sequence[FieldArray]) -> Iterator[str]:
    """What a user should know of how arrays are read, in sentences."""
    if found.said_by:
        slow = "" if found.order[0] == 0 else "; written anew in that order, trajectories read faster"
        yield f"read as {arrays[0].shape}, stored in another order: by {found.said_by}{slow}"
    for axis in arrays[0].falling:
        yield f"positions along {AXES[axis - 2]} fall in the file: fields are read from the last point to the first"
    for array in arrays:
        yield from array.meanings()


def decoded(positions: h5py.Dataset) -> np.ndarray:
    """All values of an axis, with its `scale_factor` and `add_offset`.

    Raises:
        DataError: packed by a filter that is not installed, or factors that give no values.
    """
    require_filters(positions)
    factor, offset = _scaling(positions)
    stored: np.ndarray = positions[()]
    return stored if (factor, offset) == (1.0, 0.0) else stored * factor + offset


def _scaling(dataset: h5py.Dataset) -> tuple[float, float]:
    factor, offset = _number(dataset, "scale_factor", 1.0), _number(dataset, "add_offset", 0.0)
    if not math.isfinite(factor) or not factor or not math.isfinite(offset):
        raise DataError(
            f"{dataset.file.filename}: scale_factor {factor:g} and add_offset {offset:g} of"
            f" {dataset.name.lstrip('/')} give no values",
            "mend these attributes of the dataset",
        )
    return factor, offset


def _fills(dataset: h5py.Dataset) -> np.ndarray:
    """Finite marks of absent values, in the dataset's own number format."""
    marks: list[Any] = []
    for key in ("_FillValue", "missing_value"):
        if key in dataset.attrs:
            try:
                marks += np.ravel(dataset.attrs[key]).astype(np.float64).tolist()  # text may hold a number, too
            except (TypeError, ValueError) as problem:
                raise DataError(
                    f"{dataset.file.filename}: attribute {key} of {dataset.name.lstrip('/')} is no number",
                    "mend or remove it",
                ) from problem
    if dataset.dtype.kind == "f" and math.isclose(float(dataset.fillvalue), _NETCDF_FILL, rel_tol=1e-6):
        marks.append(dataset.fillvalue)
    with np.errstate(all="ignore"):
        cast = [(mark, np.array(mark).astype(dataset.dtype)) for mark in marks if math.isfinite(mark)]
    # a mark beyond the range of integers marks nothing
    fitting = [own for mark, own in cast if (own == mark if own.dtype.kind in "iu" else np.isfinite(own))]
    return np.unique(np.array(fitting, dataset.dtype))


def _number(dataset: h5py.Dataset, key: str, default: float) -> float:
    if key not in dataset.attrs:
        return default
    found = np.ravel(dataset.attrs[key])
    if found.dtype.kind not in "fiu" or found.size != 1:
        raise DataError(
            f"{dataset.file.filename}: attribute {key} of {dataset.name.lstrip('/')} is not one number",
            "mend or remove it",
        )
    return float(found[0])
