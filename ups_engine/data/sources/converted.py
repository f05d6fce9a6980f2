"""The earlier research code's converted files, `{task}_{split}.h5`: one array `data`, (N, T, X) or (N, T, H, W, C).

They say nothing of time and space, so time is counted in frames until `data.dt` is set and the domain is taken as
[0, 1] along each axis. Where a file does hold `t-coordinate`, `x-coordinate`, `y-coordinate` or an attribute `dt`,
`periodic` or `task`, that counts.
"""

import h5py
import numpy as np

from ups_engine.data.sources.base import FieldSpec, SourceInfo
from ups_engine.data.sources.boundaries import of_file
from ups_engine.data.sources.files import parse_name
from ups_engine.data.sources.hdf5 import (
    Hdf5Source,
    number_attribute,
    space_axis,
    text_attribute,
    time_axis,
)
from ups_engine.discretisation.arrays import Float64
from ups_engine.discretisation.grid import cell_centres
from ups_engine.errors import DataError


class ConvertedSource(Hdf5Source):
    """One field `u` with one channel in one dimension, or C channels in two."""

    @classmethod
    def matches(cls, file: h5py.File) -> bool:
        """See `Hdf5Source.matches`."""
        data = file.get("data")
        return isinstance(data, h5py.Dataset) and data.ndim in (3, 5) and data.dtype.kind == "f"

    def describe(self, file: h5py.File) -> tuple[SourceInfo, dict[str, str]]:
        """See `Hdf5Source.describe`."""
        data, name, where = file["data"], parse_name(self.path), self.path.name
        if not data.size:
            raise DataError(f"{where} is empty: shape {data.shape}")
        trajectories, frames = data.shape[:2]
        resolution = data.shape[2:] if data.ndim == 3 else data.shape[2:-1]
        time, dt = self._time(file, frames)
        task = text_attribute(file, "task") or name.task
        info = SourceInfo(
            format="converted `data` array",
            task=task,
            fields=(
                FieldSpec(
                    "u", 1 if data.ndim == 3 else data.shape[-1], str(data.dtype), text_attribute(data, "units", "unit")
                ),
            ),
            trajectories=trajectories,
            frames=frames,
            resolution=resolution,
            coordinates=self._space(file, resolution),
            time=time,
            dt=dt,
            boundaries=of_file(file, name, task, len(resolution), convention="open", where=where),
        )
        return info, {"u": "data"}

    def _time(self, file: h5py.File, frames: int) -> tuple[Float64, float | None]:
        if isinstance(file.get("t-coordinate"), h5py.Dataset):
            return time_axis(file["t-coordinate"][()], frames, self.path.name)
        dt = number_attribute(file, "dt")
        if dt is not None and not dt > 0:
            raise DataError(f"{self.path.name}: attribute dt is {dt}; expected a positive time")
        return np.arange(frames, dtype=np.float64) * (dt or 1.0), dt

    def _space(self, file: h5py.File, resolution: tuple[int, ...]) -> tuple[Float64, ...]:
        names = ("x-coordinate", "y-coordinate")[: len(resolution)]  # PDEBench's order of axes
        return tuple(
            space_axis(file[name][()], points, self.path.name, name)
            if isinstance(file.get(name), h5py.Dataset)
            else cell_centres(points)
            for name, points in zip(names, resolution, strict=True)
        )
