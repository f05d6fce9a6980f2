"""Names of the array types that pass between the modules of this package."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32 | np.float64]
"""Physical values: float32 where that holds every stored number exactly, else float64 (see `values_format`)."""
Int64 = npt.NDArray[np.int64]


def values_format(stored: Iterable[str]) -> "np.dtype[np.float32] | np.dtype[np.float64]":
    """The number format in which values of these stored formats are read: none of them loses a digit in float32.

    A mean that is large beside the variation takes the digits of a float32 away, so the cast to it comes after the
    mean is off (see `Normalisation`).
    """
    exact = np.result_type(np.float32, *(np.dtype(name) for name in stored))
    return np.dtype(np.float32) if exact == np.float32 else np.dtype(np.float64)
