"""One array `data`, as the earlier research code converted files, `{task}_{split}.h5`, and as others write it.

Without a word in the file its axes are (N, T, X), (N, T, X, 1) or (N, T, H, W, C), time is counted in frames until
`data.dt` is set, and the domain is taken as [0, 1] along each axis. Where the file names the axes (dimension scales,
as NetCDF-4 has them, or labels), holds `t-coordinate` or `time`, `x-coordinate` or `x`, or an attribute `dt`,
`periodic` or `task`, that counts.
"""

from collections.abc import Iterator
from contextlib import suppress

import h5py
import numpy as np

from ups_engine.data.sources.array import FieldArray, Stored, as_read, decoded, how_read
from ups_engine.data.sources.axes import flat_axis, space_axis, time_axis
from ups_engine.data.sources.boundaries import of_file
from ups_engine.data.sources.dimensions import Arrangement, Beside, Role, arrange, length_of, naming, numeric, scale_of
from ups_engine.data.sources.files import parse_name
from ups_engine.data.sources.hdf5 import Hdf5Source, number_attribute, text_attribute
from ups_engine.data.sources.info import FieldSpec, SourceInfo
from ups_engine.discretisation.arrays import Float64
from ups_engine.discretisation.grid import cell_centres
from ups_engine.errors import DataError

CONVERTED = "converted `data` array"
_TIME = ("t-coordinate", "time", "times", "t")
_SPACE = (("x-coordinate", "x", "lat", "latitude"), ("y-coordinate", "y", "lon", "longitude"), ("z-coordinate", "z"))
_FEW_CHANNELS = 8  # more than these are pointed out, where no name calls them channels


class ConvertedSource(Hdf5Source):
    """One field `u` with one channel or several."""

    @classmethod
    def matches(cls, file: h5py.File) -> bool:
        """See `Hdf5Source.matches`."""
        data = file.get("data")
        return isinstance(data, h5py.Dataset) and 3 <= data.ndim <= 6 and data.dtype.kind in "fiu"

    def describe(self, file: h5py.File) -> tuple[SourceInfo, dict[str, Stored]]:
        """See `Hdf5Source.describe`."""
        data, name, where = file["data"], parse_name(self.path), self.path.name
        if not data.size:
            raise DataError(f"{where} is empty: shape {data.shape}")
        times, places = _beside(file, _TIME), [_beside(file, names) for names in _SPACE]
        found = arrange(data, lambda shape: _layout(shape, places, where), times, places, where)
        shape = tuple(data.shape[axis] for axis in found.order)
        trajectories, frames, resolution = shape[0], shape[1], shape[2 : 2 + found.axes]
        time, dt, time_unit = self._time(file, found, frames)
        axes = list(self._space(file, found, resolution))
        falling = tuple(2 + axis for axis, (_, falls, _) in enumerate(axes) if falls)
        task, stored = text_attribute(file, "task") or name.task, Stored("data", found.order, falling)
        units, array = tuple(unit for _, _, unit in axes), FieldArray(data, stored)
        info = SourceInfo(
            format=CONVERTED + as_read(found, [array]),
            task=task,
            fields=(
                FieldSpec(
                    "u",
                    shape[-1] if "channel" in found.roles else 1,
                    array.dtype,
                    text_attribute(data, "units", "unit"),
                ),
            ),
            trajectories=trajectories,
            frames=frames,
            resolution=resolution,
            coordinates=tuple(positions for positions, _, _ in axes),
            time=time,
            dt=dt,
            boundaries=of_file(file, name, task, len(resolution), convention="open", where=where),
            axis_units=units if any(units) else (),
            time_unit=time_unit,
            notes=(*how_read(found, [array]), *_many_channels(found, shape)),
        )
        return info, {"u": stored}

    def _time(self, file: h5py.File, found: Arrangement, frames: int) -> tuple[Float64, float | None, str | None]:
        """Times of the frames, the time between them, and their unit."""
        stored = _positions(file, found, 1, _TIME)
        dt = number_attribute(file, "dt")
        if stored is not None:
            name, unit = stored.name.rsplit("/", 1)[-1], text_attribute(stored, "units", "unit")
            time, step = time_axis(decoded(stored), frames, self.path.name, name)
            if unit or step != 1 or stored.dtype.kind == "f":
                return time, step, unit
            # whole numbers without a unit count frames, which is no time between them
        if dt is not None and not dt > 0:
            raise DataError(f"{self.path.name}: attribute dt is {dt}; expected a positive time")
        return np.arange(frames, dtype=np.float64) * (dt or 1.0), dt, None

    def _space(
        self, file: h5py.File, found: Arrangement, resolution: tuple[int, ...]
    ) -> Iterator[tuple[Float64, bool, str | None]]:
        """Positions along each axis of space, whether they fall in the file, and their unit."""
        for axis, points in enumerate(resolution):
            stored = _positions(file, found, 2 + axis, _SPACE[axis])
            if stored is None:
                yield cell_centres(points), False, None
            else:
                name = stored.name.rsplit("/", 1)[-1]
                yield (
                    *space_axis(decoded(stored), points, self.path.name, name),
                    text_attribute(stored, "units", "unit"),
                )


def _layout(shape: tuple[int, ...], places: list[Beside | None], where: str) -> tuple[Role, ...]:
    """The roles of axes without names.

    Raises:
        DataError: nothing tells which axis is which.
    """
    axes = len(shape) - 3  # of space, where the last axis is of channels
    if len(shape) == 3:
        return "sample", "time", "space"
    roles: list[Role] = ["sample", "time"]
    roles += ["space"] * axes
    with_channels = (*roles, "channel")
    positions, channels = shape[2:-1], shape[-1]

    def fits(axes: int) -> bool:
        return [beside and beside.length for beside in places[:axes]] == [*shape[2 : 2 + axes]]

    if len(shape) == 4 and fits(2) and channels > 1:
        return "sample", "time", "space", "space"
    if channels == 1 or (len(shape) > 4 and channels < min(positions)):
        return with_channels
    if len(shape) > 4 and fits(axes) and shape[2] != channels:
        return with_channels
    readings = {
        4: "(N, T, X, C) or (N, T, H, W)",
        5: "(N, T, H, W, C), channels first (N, T, C, H, W), or three axes of space",
        6: "(N, T, X, Y, Z, C) or channels first",
    }
    if len(shape) == 4:
        example = ("sample", "time", "x", "channel" if channels < shape[2] else "y")
    else:
        example = ("sample", "time", "channel", *"xyz"[:axes])
    raise DataError(
        f"{where}: data has shape {shape}, which may be {readings[len(shape)]}, and nothing in the file tells which",
        f"{naming('data', example)}, as they are",
    )


def _beside(file: h5py.File, names: tuple[str, ...]) -> Beside | None:
    """The first axis of these names at the root of a file, by its length."""
    found = _axis(file, names)
    name = found.name.rsplit("/", 1)[-1] if found is not None else ""
    return None if found is None else Beside(name, length_of(found), reserved=name.endswith("-coordinate"))


def _axis(file: h5py.File, names: tuple[str, ...]) -> h5py.Dataset | None:
    """The first array of numbers of these names that is an axis.

    What is called `x` or `y` alone may be anything, such as a network's inputs, and counts only if it is an axis.
    """
    for name in names:
        stored = numeric(file.get(name))
        if stored is None:
            continue
        if name.endswith("-coordinate") or stored.ndim == 1 or (name in _TIME and stored.ndim == 2):
            return stored
        if stored.ndim == 2:
            with suppress(DataError):
                flat_axis(stored[()], file.filename, name)
                return stored
    return None


def _positions(file: h5py.File, found: Arrangement, axis: int, names: tuple[str, ...]) -> h5py.Dataset | None:
    """The positions along an axis: its dimension scale, else what is stored beside the array.

    An axis that is called `y` takes nothing that is called `x`.
    """
    own = found.names[axis]
    scale = scale_of(file["data"], found.order[axis])
    if scale is not None:
        return scale
    if own is None:
        return _axis(file, names)
    alone = any(own in others for others in _SPACE)
    return _axis(file, (own, f"{own}-coordinate", *(() if alone else names)))


def _many_channels(found: Arrangement, shape: tuple[int, ...]) -> Iterator[str]:
    if "channel" in found.roles and not any(found.names) and shape[-1] > _FEW_CHANNELS:
        yield f"the last axis of data {shape} is taken for {shape[-1]} channels, since it is the smallest"
