"""The advection solver against the shifted initial condition, which is exact; and the initial conditions themselves."""

import numpy as np
import pytest

from ups_engine.data.solvers import InitialConditions
from ups_engine.data.tasks.advection1d import TASK


def solved(initial, times, beta):
    frames = np.empty((len(initial), len(times), initial.shape[1]))
    for rows, block in TASK.solver.solve(initial, times, beta=beta):
        frames[rows] = block
    return frames


def centres(points):
    return (np.arange(points) + 0.5) / points


def errors_at_2(points, beta, rows):
    drawn, x = InitialConditions(np.arange(rows), seed=0), centres(points)
    exact = drawn(x - beta * 2.0)
    got = solved(drawn(x), np.array([0.0, 1.0, 2.0]), beta)[:, -1]
    return np.sqrt(((got - exact) ** 2).mean(axis=1) / (exact**2).mean(axis=1)), ~(drawn.folded | drawn.windowed)


@pytest.mark.parametrize("beta", [0.4, -0.4])
def test_the_shifted_initial_condition_is_met(beta):
    errors, smooth = errors_at_2(512, beta, 128)
    assert errors[smooth].max() < 1.1e-4
    assert errors.mean() < 7e-4
    assert errors.max() < 0.03


def test_smooth_waves_converge_at_third_order_or_better():
    coarse, smooth = errors_at_2(64, 1.0, 32)
    fine, _ = errors_at_2(128, 1.0, 32)
    assert np.log2(coarse[smooth] / fine[smooth]).min() > 2.9


def test_no_speed_changes_nothing():
    initial = InitialConditions(np.arange(3), seed=0)(centres(32))
    assert np.array_equal(solved(initial, np.array([0.0, 1.0]), 0.0)[:, 1], initial)


def test_initial_conditions_are_seeded_one_by_one():
    x = centres(100)
    many, few = (InitialConditions(np.arange(n), seed=5)(x) for n in (50, 7))
    assert np.array_equal(many[:7], few)
    assert np.array_equal(InitialConditions(np.array([30]), seed=5)(x), many[30:31])
    assert not np.array_equal(InitialConditions(np.arange(7), seed=6)(x), few)


def test_initial_conditions_have_pdebenchs_make():
    drawn = InitialConditions(np.arange(4000), seed=0)
    assert ((drawn.wavenumber > 0).sum(axis=1) <= 2).all()
    assert (drawn.wavenumber.sum(axis=1) >= 2).all()
    assert drawn.wavenumber.max() == 8
    assert 0.08 < drawn.folded.mean() < 0.12
    assert 0.08 < drawn.windowed.mean() < 0.12
    assert 0.47 < (drawn.sign > 0).mean() < 0.53
    values = drawn(centres(64))
    assert values[drawn.folded & (drawn.sign > 0)].min() > -1e-8
    edge = drawn(np.array([0.0, 0.99999]))[drawn.windowed]
    assert np.abs(edge).max() < 1e-6
