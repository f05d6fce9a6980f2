"""PDEBench's random initial conditions in one dimension: a few sinusoids, sometimes folded, sometimes windowed.

Takamoto et al. 2022 (PDEBench), appendix D: of the wavenumbers 1 to 4 two are drawn, with repetition; a mode drawn
twice has twice the wavenumber, so wavenumbers reach 8. Amplitudes are uniform in [0, 1], phases in [0, 2 pi]. A mode
that is not drawn has wavenumber 0: amplitude and phase leave a constant, which gives the states their varied means.
One in ten is replaced by its absolute value, the sign is random, and one in ten is multiplied by a smooth window.
"""

from dataclasses import dataclass

import numpy as np

from ups_engine.data.arrays import Float64, Int64

_MODES = 4
_DRAWS = 2
_WINDOW_WIDTH = 0.01


@dataclass(frozen=True, eq=False)
class InitialConditions:
    """Random functions on the periodic domain [0, 1], to be evaluated anywhere."""

    wavenumber: Int64
    """(n, 4)"""
    amplitude: Float64
    """(n, 4)"""
    phase: Float64
    """(n, 4)"""
    folded: np.ndarray
    """(n,) whether the absolute value is taken."""
    sign: Float64
    """(n,)"""
    windowed: np.ndarray
    """(n,) whether the window applies."""
    window: Float64
    """(n, 2) where the window opens and closes."""

    def __call__(self, x: Float64) -> Float64:
        """Values (n, X) at positions (X,), wrapped into [0, 1)."""
        x = x % 1.0
        values = np.zeros((len(self.sign), len(x)))
        for mode in range(_MODES):
            angle = 2 * np.pi * self.wavenumber[:, mode, None] * x + self.phase[:, mode, None]
            values += self.amplitude[:, mode, None] * np.sin(angle)
        values[self.folded] = np.abs(values[self.folded])
        values *= self.sign[:, None]
        opens, closes = self.window[self.windowed, 0, None], self.window[self.windowed, 1, None]
        values[self.windowed] *= 0.5 * (np.tanh((x - opens) / _WINDOW_WIDTH) - np.tanh((x - closes) / _WINDOW_WIDTH))
        return values


def draw_initial_conditions(trajectories: Int64, seed: int) -> InitialConditions:
    """Initial conditions of the given trajectories.

    Each depends on the seed and on its own number alone, so that a larger set begins with the smaller one.

    Args:
        trajectories: (n,) numbers from 0.
        seed: any integer.
    """
    rows = [np.random.default_rng([seed % 2**64, int(number)]) for number in trajectories]
    drawn = [np.bincount(rng.integers(_MODES, size=_DRAWS), minlength=_MODES) for rng in rows]
    return InitialConditions(
        wavenumber=np.array(drawn, dtype=np.int64) * np.arange(1, _MODES + 1),
        amplitude=np.array([rng.uniform(size=_MODES) for rng in rows]),
        phase=np.array([rng.uniform(0, 2 * np.pi, size=_MODES) for rng in rows]),
        folded=np.array([rng.uniform() < 0.1 for rng in rows]),
        sign=np.array([1.0 if rng.uniform() < 0.5 else -1.0 for rng in rows]),
        windowed=np.array([rng.uniform() < 0.1 for rng in rows]),
        window=np.array([[rng.uniform(0.1, 0.45), rng.uniform(0.55, 0.9)] for rng in rows]),
    )
