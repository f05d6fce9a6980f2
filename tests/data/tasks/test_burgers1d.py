"""The Burgers solver against Cole-Hopf, a four times finer grid, conservation, and PDEBench's own data."""

import os

import h5py
import numpy as np
import pytest

from ups_engine.data.solvers import InitialConditions
from ups_engine.data.tasks.burgers1d import TASK

REAL_FILE = os.environ.get("UPS_PDEBENCH_BURGERS")


def solved(initial, times, nu):
    frames = np.empty((len(initial), len(times), initial.shape[1]))
    for rows, block in TASK.solver.solve(initial, times, nu=nu):
        frames[rows] = block
    return frames


def nrmse(got, expected):
    return np.sqrt(((got - expected) ** 2).mean(axis=-1) / (expected**2).mean(axis=-1))


def centres(points):
    return (np.arange(points) + 0.5) / points


def cole_hopf(x, t, nu, drift):
    """An exact solution: u = c - 2 v phi_x / phi at x - c t, with phi a positive solution of the heat equation."""
    viscosity = nu / np.pi
    x = x - drift * t
    phi, slope = np.ones_like(x), np.zeros_like(x)
    for wave, amplitude, phase in ((1, 0.6, 0.3), (2, 0.35, 2.0)):
        k = 2 * np.pi * wave
        decay = amplitude * np.exp(-viscosity * k**2 * t)
        phi += decay * np.cos(k * x + phase)
        slope -= decay * k * np.sin(k * x + phase)
    return drift - 2 * viscosity * slope / phi


@pytest.mark.parametrize("drift", [0.0, 0.8, -0.5])
def test_cole_hopf_is_met_and_approached_at_second_order(drift):
    nu, times = 0.1, np.linspace(0, 0.5, 6)
    errors = []
    for points in (64, 128, 256):
        x = centres(points)
        exact = np.array([cole_hopf(x, t, nu, drift) for t in times])
        got = solved(exact[:1], times, nu)[0]
        errors.append(np.sqrt(((got - exact) ** 2).mean(axis=-1)).max() / np.sqrt((exact**2).mean()))
    assert errors[-1] < 2.5e-4
    assert np.log2(errors[1] / errors[2]) > 1.7


def test_a_four_times_finer_grid_gives_the_same_at_nu_0_01():
    x = centres(2048)
    fine_initial = InitialConditions(np.arange(4), seed=1)(x)
    times = np.linspace(0, 0.5, 6)
    fine = solved(fine_initial, times, 0.01).reshape(4, 6, 512, 4).mean(axis=-1)
    errors = nrmse(solved(fine[:, 0], times, 0.01), fine)
    assert errors.max() < 1.6e-3
    assert errors.mean() < 4e-4


def test_mass_is_conserved_and_extremes_do_not_grow():
    initial = InitialConditions(np.arange(16), seed=2)(centres(128))
    frames = solved(initial, np.linspace(0, 1, 5), 0.01)
    assert np.abs(frames.mean(axis=-1) - initial.mean(axis=-1)[:, None]).max() < 1e-13
    assert (frames.max(axis=-1) <= initial.max(axis=-1)[:, None] + 1e-3).all()
    assert (frames.min(axis=-1) >= initial.min(axis=-1)[:, None] - 1e-3).all()


@pytest.mark.parametrize("nu", [0.001, 0.1, 1.0])
def test_the_steps_are_stable_at_any_viscosity(nu):
    initial = InitialConditions(np.arange(8), seed=3)(centres(64)) * 2
    frames = solved(initial, np.linspace(0, 0.5, 3), nu)
    assert np.abs(frames).max() <= np.abs(initial).max() + 1e-3


@pytest.mark.skipif(REAL_FILE is None, reason="UPS_PDEBENCH_BURGERS names no file of PDEBench's")
def test_pdebenchs_own_data_is_reproduced():
    with h5py.File(REAL_FILE, "r", locking=False) as file:
        reference = file["tensor"][:].astype(np.float64)
        times = file["t-coordinate"][: reference.shape[1]].astype(np.float64)
    errors = nrmse(solved(reference[:, 0], times, 0.01), reference)
    assert errors.shape[1] == 201
    assert errors.max() < 0.002
