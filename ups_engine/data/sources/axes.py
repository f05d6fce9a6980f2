"""Positions along the axes of time and space: as files store them, checked against the field, even and rising."""

import numpy as np

from ups_engine.discretisation.arrays import Float64
from ups_engine.errors import DataError


def flat_axis(stored: np.ndarray, where: str, name: str) -> Float64:
    """One array of positions, of an axis stored as (L,), as a column or row, or repeated for every trajectory.

    Raises:
        DataError: no real numbers, more than two dimensions, or positions that differ from trajectory to trajectory.
    """
    if stored.dtype.kind not in "fiu":
        raise DataError(f"{where}: {name} holds {stored.dtype}, no positions")
    if stored.ndim == 1:
        return stored.astype(np.float64)
    if stored.ndim == 2 and stored.size:
        if 1 in stored.shape:
            return stored.ravel().astype(np.float64)
        for tiles in (stored, stored.T):
            if np.array_equal(tiles, np.broadcast_to(tiles[0], tiles.shape)):
                return tiles[0].astype(np.float64)
    raise DataError(
        f"{where}: {name} has shape {stored.shape} and is not the same for every trajectory",
        f"UPS reads one {name} for all trajectories of a file: put those that share one into a file of their own, or"
        " resample",
    )


def time_axis(stored: np.ndarray, frames: int, where: str, name: str = "t-coordinate") -> tuple[Float64, float | None]:
    """Times of the frames; PDEBench's `t-coordinate` stores one more than there are frames, which is cut off.

    Returns:
        (frames,) times, and their mean spacing; None for a single frame.

    Raises:
        DataError: too short, longer otherwise, not rising, or spaced unevenly beyond float32 rounding.
    """
    axis = _matched(stored, (frames, frames + (name == "t-coordinate")), where, name)
    steps = np.diff(axis)
    if len(steps) and not steps.min() > 0:
        raise DataError(f"{where}: {name} does not rise", f"sort the frames and {name} by time")
    return axis, (_spacing(axis, where, name) if frames > 1 else None)


def space_axis(stored: np.ndarray, points: int, where: str, name: str) -> tuple[Float64, bool]:
    """Positions of the grid's points, rising.

    Returns:
        (points,) positions, and whether they fall in the file, so that fields are to be read from the last point.

    Raises:
        DataError: another number of positions than points, neither rising nor falling, or spaced unevenly.
    """
    axis = _matched(stored, (points,), where, name)
    steps = np.diff(axis)
    falls = bool(len(steps)) and bool(steps.max() < 0)
    if falls:
        axis = axis[::-1].copy()
    elif len(steps) and not steps.min() > 0:
        raise DataError(f"{where}: {name} neither rises nor falls throughout", f"sort the field and {name} by it")
    if points > 1:
        _spacing(axis, where, name)
    return axis, falls


def _spacing(axis: Float64, where: str, name: str) -> float:
    """Mean spacing of an even, rising axis.

    An axis stored in float32 is even where its steps differ by no more than the rounding of its largest value,
    which `t += dt` in float32 reaches too.

    Raises:
        DataError: steps that differ by more than that.
    """
    steps = np.diff(axis)
    mean = float((axis[-1] - axis[0]) / (len(axis) - 1))
    rounding = 8 * float(np.finfo(np.float32).eps) * float(np.abs(axis).max())
    worst = int(np.abs(steps - mean).argmax())
    if abs(steps[worst] - mean) > rounding + 1e-5 * mean:
        raise DataError(
            f"{where}: {name} is spaced unevenly: step {worst} is {steps[worst]:.6g}, the mean {mean:.6g}",
            "UPS reads data that is even in time and space; resample it",
        )
    return float(f"{mean:.7g}")  # the digits that float32 coordinates carry


def _matched(stored: np.ndarray, lengths: tuple[int, ...], where: str, name: str) -> Float64:
    """A stored axis that has one of these lengths, cut to the first of them."""
    axis, points = flat_axis(stored, where, name), lengths[0]
    if len(axis) < points:
        raise DataError(f"{where}: {name} has {len(axis)} values, too short for {points} points")
    if len(axis) not in lengths:
        every = -(-len(axis) // points)
        part = f"a[::{every}]" if -(-len(axis) // every) == points else f"a[:{points}]"
        if len(axis) == points + 1:
            part = "(a[1:] + a[:-1]) / 2 if they are the cells' edges, else a[:-1]"
        raise DataError(
            f"{where}: {name} has {len(axis)} values for {points} points of the field, and nothing tells which are its"
            " own",
            "write its own alone (a thinned field has an axis thinned alike, or its spacing is wrong):"
            f" a = file['{name}'][()]; del file['{name}']; file['{name}'] = {part}",
        )
    axis = axis[:points]
    if not np.isfinite(axis).all():
        raise DataError(f"{where}: {name} holds non-finite values")
    return axis
