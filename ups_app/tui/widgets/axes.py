"""Axes of a chart: what range they span, where their ticks are, and what is written there."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FINER_AND_FINER = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9))
_CLOSE = 3.0
"""Values of which none is so many times another are shown on a range of their own, not on whole thirds of decades."""
_NEARLY = 0.8
_NICE = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """A range of values, along a logarithmic or a linear scale."""

    low: float
    high: float
    log: bool = False

    def places(self, values: ArrayLike) -> Floats:
        """Where values lie: 0 at the low end, 1 at the high one."""
        low, high, along = (np.log10(v) if self.log else np.asarray(v) for v in (self.low, self.high, values))
        return (along - low) / (high - low)

    def ticks(self, most: int) -> list[float]:
        """Round values on the axis, at least two and as many as there are up to a number."""
        found = _log_ticks(self.low, self.high, most) if self.log else []
        return found if len(found) >= max(2, most // 2) else _linear_ticks(self.low, self.high, most)


def log_axis(low: float, high: float) -> Axis:
    """A logarithmic axis around positive values; its ends change rarely while the values grow."""
    if high < _CLOSE * low:
        step = _nice(max(high - low, 0.1 * low) / 3)
        return Axis(max(math.floor(low / step) * step, low / 2), (math.floor(high / step) + 1) * step, log=True)
    return Axis(_down(low), _nice(high * 1.0001, (1, 2, 5, 10)), log=True)


def linear_axis(high: float) -> Axis:
    """An axis from zero to at least a value."""
    return Axis(0.0, _nice(high) if high > 0 else 1.0)


def steps_axis(last: float, planned: float | None) -> Axis:
    """An axis of steps to the last one so far, with room to grow into so that curves stay where they are for a while.

    It ends at the planned step, where that is known, when there is not much further to go.
    """
    high = _nice(max(last, 1.0))
    if planned is not None and high >= _NEARLY * planned:
        high = max(1.0, last, planned)
    return Axis(0.0, high)


def tick_label(value: float) -> str:
    """A value on an axis in few characters: `0`, `0.05`, `2e-4`, `250`, `1.5k`, `3M`."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e9:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if size >= unit * 0.99999:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of the smallest round step of which there are not too many, but two at least."""
    rough = max((high - low) / max(1, most - 1), 0.01 * high)  # finer ones would have the same labels
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [m * power for m in (0.1, 0.2, 0.25, 0.5, 1, 2, 2.5, 5, 10, 20)]
    wanted = next(number for number, step in enumerate(steps) if step >= rough * (1 - 1e-9))
    for step in reversed(steps[: wanted + 1]):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last > first:
            break
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """The finest round values of which there are not too many, else powers of ten, as many apart as it takes."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    found = [10.0**power for power in range(first, last + 1, max(1, math.ceil((last - first + 1) / most)))]
    for mantissas in _FINER_AND_FINER:
        rounds = [float(f"{mantissa}e{power}") for power in range(first - 2, last + 2) for mantissa in mantissas]
        finer = [value for value in rounds if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(finer) > most:
            break
        found = finer
    return found


def _nice(value: float, mantissas: tuple[float, ...] = _NICE) -> float:
    """The next round number that is not smaller."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (*mantissas, 20) if m * power >= value * (1 - 1e-9))


def _down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(m * power for m in (0.5, 1, 2, 5) if m * power <= value or m == 0.5)
