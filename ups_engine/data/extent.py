"""Which points and frames of a source are used, and what distances and times lie between them."""

import math
from dataclasses import dataclass
from typing import Any

from ups_engine.config.data import DataSettings
from ups_engine.data.arrays import Float64
from ups_engine.data.sources.base import SourceInfo
from ups_engine.errors import DataError, SettingsError


@dataclass(frozen=True, eq=False)
class Grid:
    """The grid after striding."""

    shape: tuple[int, ...]
    lengths: tuple[float, ...]
    """Extent of the domain along each axis, in the file's units: points times spacing."""
    coordinates: tuple[Float64, ...]
    periodic: tuple[bool, ...]

    @property
    def points(self) -> int:
        """Points of all axes together."""
        return math.prod(self.shape)

    def to_json(self) -> dict[str, Any]:
        """For the run's record."""
        return {
            "shape": list(self.shape),
            "lengths": list(self.lengths),
            "origin": [float(axis[0]) for axis in self.coordinates],
            "periodic": list(self.periodic),
        }


def strided_grid(info: SourceInfo, stride: int) -> Grid:
    """The grid that is left of a source's after striding.

    Raises:
        SettingsError: a stride that leaves a seam in a periodic axis, or fewer than two points.
    """
    for points, wraps in zip(info.resolution, info.periodic, strict=True):
        if wraps and points % stride:
            raise SettingsError(
                f"data.spatial_stride = {stride} does not divide the {points} points of a periodic axis",
                f"take one of {', '.join(str(n) for n in range(1, points) if points % n == 0 and n <= 64)}",
            )
        if -(-points // stride) < 2:
            raise SettingsError(f"data.spatial_stride = {stride} leaves fewer than 2 of {points} points")
    coordinates = tuple(axis[::stride] for axis in info.coordinates)
    return Grid(
        shape=tuple(len(axis) for axis in coordinates),
        lengths=tuple(float((axis[-1] - axis[0]) / (len(axis) - 1) * len(axis)) for axis in coordinates),
        coordinates=coordinates,
        periodic=info.periodic,
    )


def strided_frames(info: SourceInfo, data: DataSettings) -> int:
    """Frames of a trajectory that are used.

    Raises:
        DataError: data that does not evolve.
        SettingsError: a stride or a number of frames that the file cannot give.
    """
    if not info.evolves or info.frames < 2:
        raise DataError(f"{info.files[0].name} holds no time series: {info.frames} frame(s) a trajectory")
    available = -(-info.frames // data.time_stride)
    if available < 2:
        raise SettingsError(f"data.time_stride = {data.time_stride} leaves fewer than 2 of {info.frames} frames")
    if data.frames is not None and data.frames > available:
        raise SettingsError(
            f"data.frames = {data.frames}, but the data has {available} frames at data.time_stride = {data.time_stride}"
        )
    return data.frames or available


def time_step(info: SourceInfo, data: DataSettings) -> float:
    """Time between frames after striding.

    Raises:
        SettingsError: neither the file nor the settings say it, or they contradict each other.
    """
    if info.dt is None and data.dt is None:
        raise SettingsError(
            f"{info.files[0].name} does not say the time between its frames", "give it with --set data.dt=..."
        )
    if info.dt is not None and data.dt is not None and not math.isclose(info.dt, data.dt, rel_tol=1e-4):
        raise SettingsError(
            f"data.dt = {data.dt:g}, but {info.files[0].name} says {info.dt:g}",
            "leave data.dt out; a longer step is data.time_stride",
        )
    step = info.dt if info.dt is not None else data.dt
    assert step is not None
    return step * data.time_stride
