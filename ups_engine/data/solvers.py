"""What solvers of tasks share: random initial conditions, and blocks of trajectories that fit the processor's cache.

PDEBench's are a few sinusoids, sometimes folded, sometimes windowed (Takamoto et al. 2022, appendix D): of the
wavenumbers 1 to 4 two are drawn, with repetition; a mode drawn twice has twice the wavenumber, so wavenumbers reach 8.
Amplitudes are uniform in [0, 1], phases in [0, 2 pi]. A mode that is not drawn has wavenumber 0: amplitude and phase
leave a constant, which gives the states their varied means. One in ten is replaced by its absolute value, the sign is
random, and one in ten is multiplied by a smooth window.
"""

from collections.abc import Iterator

import numpy as np

from ups_engine.discretisation.arrays import Float64, Int64
from ups_engine.discretisation.grid import cell_centres

_MODES = 4
_DRAWS = 2
_WINDOW_WIDTH = 0.01
_SMOOTH_MODES = 3  # highest wavenumber along an axis of a smooth field
_BLOCK_VALUES = 32768  # of float64: 256 KiB an array; 64 trajectories of 512 points ran fastest


class InitialConditions:
    """Random functions on the periodic domain [0, 1], to be evaluated anywhere.

    Each depends on the seed and on its own number alone, so that a larger set begins with the smaller one.

    Args:
        trajectories: (n,) numbers from 0.
        seed: any integer.
    """

    def __init__(self, trajectories: Int64, seed: int) -> None:
        rows = [np.random.default_rng([seed % 2**64, int(number)]) for number in trajectories]
        drawn = [np.bincount(rng.integers(_MODES, size=_DRAWS), minlength=_MODES) for rng in rows]
        self.wavenumber = np.array(drawn, dtype=np.int64) * np.arange(1, _MODES + 1)  # (n, 4)
        self.amplitude = np.array([rng.uniform(size=_MODES) for rng in rows])  # (n, 4)
        self.phase = np.array([rng.uniform(0, 2 * np.pi, size=_MODES) for rng in rows])  # (n, 4)
        self.folded = np.array([rng.uniform() < 0.1 for rng in rows])  # (n,) whether the absolute value is taken
        self.sign = np.array([1.0 if rng.uniform() < 0.5 else -1.0 for rng in rows])
        self.windowed = np.array([rng.uniform() < 0.1 for rng in rows])  # (n,) whether the window applies
        self.window = np.array([[rng.uniform(0.1, 0.45), rng.uniform(0.55, 0.9)] for rng in rows])  # opens, closes

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


def draw_sinusoids(trajectories: Int64, seed: int, points: int) -> Float64:
    """PDEBench's initial conditions (n, points) at the centres of equal cells of [0, 1]; see `Solver.draw`."""
    return InitialConditions(trajectories, seed)(cell_centres(points))


def draw_smooth(trajectories: Int64, seed: int, points: int, dimensions: int) -> Float64:
    """Smooth random fields (n, *space) on equal cells of the periodic unit cube; see `Solver.draw`.

    Each wave of wavenumbers -3 to 3 along every axis has a normal amplitude and a uniform phase, weighted with
    1 / (1 + |k|^2); the wave of wavenumber 0 gives the fields their varied means.
    """
    k = np.arange(-_SMOOTH_MODES, _SMOOTH_MODES + 1)
    square = sum(np.meshgrid(*(k**2,) * dimensions, indexing="ij"), start=np.zeros(()))  # |k|^2, (7, 7, ...)
    rngs = [np.random.default_rng([seed % 2**64, int(number)]) for number in trajectories]
    amplitude = np.array([rng.normal(size=square.shape) for rng in rngs]) / (1 + square)
    phase = np.array([rng.uniform(0, 2 * np.pi, size=square.shape) for rng in rngs])
    waves = np.exp(2j * np.pi * k[:, None] * cell_centres(points))  # (7, points)
    fields = np.empty((len(trajectories), *(points,) * dimensions))
    for row, values in enumerate(amplitude * np.exp(1j * phase)):  # one by one, as sums of many may round differently
        for _ in range(dimensions):  # the first axis of wavenumbers goes, one of space comes at the end
            values = np.tensordot(values, waves, axes=(0, 0))
        fields[row] = values.real
    return fields


def cache_blocks(initial: Float64) -> Iterator[Int64]:
    """Row numbers of states (n, *space) block by block, ordered by largest speed, which decides the time step."""
    flat = initial.reshape(len(initial), -1)
    order = np.argsort(np.abs(flat).max(axis=1), kind="stable")
    columns = max(1, _BLOCK_VALUES // flat.shape[1])
    for start in range(0, len(order), columns):
        yield order[start : start + columns]
