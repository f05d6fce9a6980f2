"""The heat solver against single waves, whose decay is known, and against itself over longer steps."""

import numpy as np
import pytest

from ups_engine.data.solvers import draw_smooth
from ups_engine.data.tasks.heat2d import TASK
from ups_engine.discretisation.grid import cell_centres


def solved(initial, times, kappa):
    frames = np.empty((len(initial), len(times), *initial.shape[1:]))
    for rows, block in TASK.solver.solve(initial, times, kappa=kappa):
        frames[rows] = block
    return frames


@pytest.mark.parametrize("points", [(16, 16), (15, 24)])
@pytest.mark.parametrize("kappa", [0.001, 0.3])
def test_sums_of_waves_fade_as_they_should_to_rounding(points, kappa):
    x, y = np.meshgrid(*map(cell_centres, points), indexing="ij")
    times, exact = np.array([1.0, 1.1, 4.0]), 0.0
    for k, j, amplitude, phase in ((0, 0, 0.4, 1.0), (1, 0, 1.0, 0.3), (2, -3, 0.5, 2.0), (-1, 3, 0.7, 4.0)):
        wave = amplitude * np.cos(2 * np.pi * (k * x + j * y) + phase)
        exact += wave * np.exp(-kappa * (2 * np.pi) ** 2 * (k**2 + j**2) * (times - times[0]))[:, None, None]
    assert np.abs(solved(exact[None, 0], times, kappa)[0] - exact).max() < 1e-13


def test_two_steps_are_one_of_their_sum():
    initial = draw_smooth(np.arange(4), seed=0, points=16, dimensions=2)
    half = solved(initial, np.array([0.0, 0.5]), 0.02)[:, -1]
    assert np.allclose(
        solved(half, np.array([0.5, 1.0]), 0.02)[:, -1], solved(initial, np.array([0.0, 1.0]), 0.02)[:, -1], atol=1e-14
    )


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_smooth_fields_are_the_same_functions_on_every_grid(dimensions):
    coarse, fine = (draw_smooth(np.arange(5), 3, points, dimensions) for points in (9, 27))
    centres = (slice(None), *(slice(1, None, 3),) * dimensions)
    assert np.allclose(fine[centres], coarse, atol=1e-12)
    spectrum = np.abs(np.fft.fftn(fine, axes=range(1, dimensions + 1)))
    wavenumbers = np.abs(np.fft.fftfreq(27, 1 / 27)) > 3
    assert spectrum[:, wavenumbers].max() < 1e-9
