"""Time and space axes of a file, checked: as long as the data, rising, evenly spaced."""

import numpy as np

from ups_engine.discretisation.arrays import Float64
from ups_engine.errors import DataError


def time_axis(stored: np.ndarray, frames: int, where: str) -> tuple[Float64, float | None]:
    """Cut a stored time axis to the frames (PDEBench's is one longer) and find the time between frames.

    Returns:
        (frames,) times, and their mean spacing; None for a single frame.

    Raises:
        DataError: too short, not rising, or spaced unevenly beyond float32 rounding.
    """
    time = _axis(stored, frames, where, "t-coordinate")
    return time, (spacing(time, where, "t-coordinate") if frames > 1 else None)


def space_axis(stored: np.ndarray, points: int, where: str, name: str) -> Float64:
    """Cut a stored coordinate to the grid's points.

    Raises:
        DataError: too short, not rising, or spaced unevenly.
    """
    axis = _axis(stored, points, where, name)
    if points > 1:
        spacing(axis, where, name)
    return axis


def spacing(axis: Float64, where: str, name: str) -> float:
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
