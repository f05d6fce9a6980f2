"""What a source holds, as told by its headers: fields, axes, time, boundaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ups_engine.data.sources.boundaries import AxisBoundary
from ups_engine.discretisation.arrays import Float64, Values
from ups_engine.discretisation.grid import grid_points
from ups_engine.discretisation.sample import AXES, Sample
from ups_engine.errors import DataError


@dataclass(frozen=True)
class FieldSpec:
    """A field of a source: name, channels per point, number format as stored or unpacked, unit where the file says."""

    name: str
    channels: int
    dtype: str
    unit: str | None = None


@dataclass(frozen=True, eq=False)
class SourceInfo:
    """What a source holds. Opening a source fills this and reads no field values."""

    format: str
    """The layout, in words."""
    task: str | None
    """The PDE task, where the file's name or attributes say."""
    fields: tuple[FieldSpec, ...]
    trajectories: int
    frames: int
    resolution: tuple[int, ...]
    coordinates: tuple[Float64, ...]
    """Positions of the grid points, one array per axis."""
    time: Float64
    """(frames,) times of the frames, cut where the file stores more; frame numbers where it stores none."""
    dt: float | None
    """Time between frames; None where the file does not say."""
    boundaries: tuple[AxisBoundary, ...]
    """Per axis."""
    parameters: tuple[str, ...] = ()
    """Names of the PDE's parameters."""
    bytes: int = 0
    """Size of all files."""
    files: tuple[Path, ...] = ()
    split: str | None = None
    """`train`, `val` or `test` where the file's name declares it."""
    axis_units: tuple[str | None, ...] = ()
    """Units of the positions along each axis, where the file says any; empty where it says none."""
    time_unit: str | None = None
    """Unit of the times, where the file says it."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the files' metadata were taken, in sentences."""

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Per axis, whether its ends are neighbours."""
        return tuple(boundary.periodic for boundary in self.boundaries)

    @property
    def units_of_axes(self) -> tuple[str | None, ...]:
        """Per axis, the unit of its positions where the file says it."""
        return self.axis_units or (None,) * len(self.resolution)

    @property
    def channels(self) -> int:
        """Channels of all fields together."""
        return sum(spec.channels for spec in self.fields)

    def field_specs(self, names: Sequence[str]) -> tuple[FieldSpec, ...]:
        """The named fields in the order given; all for no names.

        Raises:
            DataError: a name that the source does not hold.
        """
        known = {spec.name: spec for spec in self.fields}
        for name in names:
            if name not in known:
                raise DataError(
                    f"{self.files[0].name} has no field {name!r}",
                    f"it holds {', '.join(known)}; choose with --set 'data.fields=[...]'",
                )
        return tuple(known[name] for name in names) if names else self.fields

    def layout(self, values: Values | None = None) -> Sample:
        """Where the values of a frame lie, as a `Sample` that is of no trajectory.

        Args:
            values: (*space, C) of all fields; None where they do not matter.
        """
        if values is None:
            values = np.zeros((*self.resolution, self.channels), np.float32)
        edges = np.cumsum([0, *(spec.channels for spec in self.fields)])
        axes = AXES[: len(self.resolution)]
        return Sample(
            kind="grid",
            coords=grid_points(self.coordinates),
            connect=None,
            fields={
                spec.name: np.ascontiguousarray(values[..., start:stop].reshape(-1, spec.channels))
                for spec, start, stop in zip(self.fields, edges[:-1], edges[1:], strict=True)
            },
            bc={axis: boundary.kind for axis, boundary in zip(axes, self.boundaries, strict=True)},
            geom={axis: (float(at[0]), float(at[-1])) for axis, at in zip(axes, self.coordinates, strict=True)},
            meta={"shape": self.resolution},
        )
