"""One state of one simulation, whatever its discretisation, and the check that it is well formed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from ups_engine.discretisation.arrays import Float64, Int64, Values
from ups_engine.errors import DataError

Kind = Literal["grid", "mesh", "particles"]
KINDS: tuple[Kind, ...] = get_args(Kind)
AXES = "xyz"
"""Names of the axes of space."""


@dataclass(frozen=True)
class Sample:
    """The state of a PDE at one time: N points in d dimensions with named fields on them.

    Grids list their points in row-major order of the array they come from; `meta["shape"]` holds its shape.
    """

    kind: Kind
    coords: Float64
    """(N, d) positions."""
    connect: Int64 | None
    """(E, 2) edges as pairs of point numbers; None for grids."""
    fields: Mapping[str, Values]
    """Name to (N, C) values, in physical units."""
    bc: Mapping[str, Any] = field(default_factory=dict)
    """Boundary conditions, by axis or by boundary."""
    params: Mapping[str, float] = field(default_factory=dict)
    """Parameters of the PDE."""
    geom: Mapping[str, Any] = field(default_factory=dict)
    """Geometry: extents of a grid, or what else describes the domain."""
    time: float | None = None
    """Time of the state; None for steady problems."""
    dt: float | None = None
    """Time to the next stored state; None for steady problems."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else there is to say: of a grid its `shape`."""


def validate_sample(sample: Sample) -> None:
    """Check shapes, references and finiteness of a sample.

    Raises:
        DataError: names the part that is wrong, what was expected, and what came.
    """
    if sample.kind not in KINDS:
        raise DataError(f"sample kind is {sample.kind!r}; expected one of {', '.join(KINDS)}")
    if sample.coords.ndim != 2 or not len(sample.coords):
        raise DataError(f"sample coords have shape {sample.coords.shape}; expected (points, dimensions)")
    points = len(sample.coords)
    _check_finite("coords", sample.coords)
    _check_connect(sample, points)
    if not sample.fields:
        raise DataError("sample has no fields")
    for name, values in sample.fields.items():
        if values.ndim != 2 or len(values) != points:
            raise DataError(f"sample field {name!r} has shape {values.shape}; expected ({points}, channels)")
        _check_finite(f"field {name!r}", values)
    for name, value in sample.params.items():
        if not np.isfinite(value):
            raise DataError(f"sample parameter {name!r} is {value}")
    if sample.time is not None and not np.isfinite(sample.time):
        raise DataError(f"sample time is {sample.time}")
    if sample.dt is not None and not (np.isfinite(sample.dt) and sample.dt > 0):
        raise DataError(f"sample dt is {sample.dt}; expected a positive time")


def _check_connect(sample: Sample, points: int) -> None:
    connect = sample.connect
    if connect is None:
        if sample.kind == "mesh":
            raise DataError("mesh sample has no connect; expected (edges, 2) point numbers")
        return
    if connect.ndim != 2 or connect.shape[1] != 2 or not np.issubdtype(connect.dtype, np.integer):
        raise DataError(
            f"sample connect has shape {connect.shape}, dtype {connect.dtype}; expected (edges, 2) point numbers"
        )
    if connect.size and (connect.min() < 0 or connect.max() >= points):
        raise DataError(f"sample connect refers to points {connect.min()} to {connect.max()}; there are {points}")


def _check_finite(name: str, values: Values) -> None:
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise DataError(f"sample {name} holds {bad} non-finite values of {values.size}")
