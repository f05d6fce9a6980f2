import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ups_engine.runs.curves import GrowingCurve, StageRecorder
from ups_engine.runs.event_file import Event


def points(curve):
    given = curve.curve()
    return list(zip(given.steps.tolist(), given.values.tolist(), strict=True))


def drawn(steps, values):
    curve = GrowingCurve()
    for step, value in zip(steps, values, strict=True):
        curve.add(step, value)
    return curve


def test_a_short_curve_is_kept_as_it_is():
    curve = drawn(range(400), np.sin(np.arange(400)).tolist())
    assert points(curve) == [(step, float(np.sin(step))) for step in range(400)]
    assert points(GrowingCurve()) == []


def test_a_long_curve_keeps_its_spikes_its_ends_and_its_order():
    values = np.random.default_rng(0).normal(size=200_000)
    values[[777, 123_456]] = 50.0, -50.0
    curve = drawn(range(200_000), values.tolist()).curve()
    assert 500 <= len(curve.steps) <= 1025
    assert (np.diff(curve.steps) > 0).all()
    assert curve.steps[-1] == 199_999
    assert curve.values.max() == 50.0 and curve.steps[curve.values.argmax()] == 777
    assert curve.values.min() == -50.0 and curve.steps[curve.values.argmin()] == 123_456
    assert (curve.values == values[curve.steps.astype(int)]).all()  # points that there were, none made up


def test_the_few_points_of_a_long_stage_are_all_kept():
    steps = list(range(1000, 300_001, 1000))
    assert points(drawn(steps, steps)) == [(step, step) for step in steps]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "0.1", True, 10**400, [1.0]])
def test_what_is_no_finite_number_is_left_out(value):
    curve = drawn([1, 2, 3], [0.1, value, 0.3])
    assert points(curve) == [(1, 0.1), (3, 0.3)]


@given(st.integers(0, 2**32), st.integers(0, 1500), st.sampled_from([2, 5, 100]), st.floats(0, 1.1))
def test_a_cut_leaves_nothing_beyond_and_the_extremes_before(seed, count, gap, part):
    numbers = np.random.default_rng(seed)
    steps = np.cumsum(numbers.integers(1, gap, count)).tolist()
    cut = round(part * steps[-1]) if steps else 3
    curve = drawn(steps, numbers.normal(size=count).tolist())
    every = points(curve)
    curve.cut(cut)
    left = points(curve)
    assert left == [point for point in every if point[0] <= cut]
    curve.add(cut + 1, 0.5)
    *before, last = points(curve)
    assert last == (cut + 1, 0.5) and set(before) <= set(left)


def test_a_curve_that_was_cut_goes_on_like_one_that_never_went_further():
    curve = drawn(range(300), range(300))
    curve.cut(99)
    for step in range(100, 500):
        curve.add(step, -step)
    assert points(curve) == [(s, s if s < 100 else -s) for s in range(500)]


def test_steps_that_come_again_unannounced_replace_what_was_there():
    curve = drawn([*range(10), *range(5, 8)], [*range(10), 50, 60, 70])
    assert points(curve) == [*((s, s) for s in range(5)), (5, 50), (6, 60), (7, 70)]


def test_a_view_that_was_given_never_changes():
    curve = drawn([1, 2], [0.5, 0.4])
    before = curve.curve()
    assert curve.curve() is before  # nor is it made anew for nothing
    curve.add(3, 0.3)
    curve.cut(1)
    assert before.steps.tolist() == [1, 2] and before.values.tolist() == [0.5, 0.4]


def test_a_stage_draws_what_its_steps_hold():
    recorder = StageRecorder()
    for step in (1, 2):
        data = {"loss": 0.5, "lr": 0.1, "grad_norm": None, "throughput": 10, "components": {"a": 0.2 * step}}
        recorder.step(Event(step, 0.0, "step", "operator", 0, step, data))
    recorder.validation(Event(3, 0.0, "validation", "operator", 0, 2, {"score": 0.25}))
    curves = recorder.curves()
    assert curves.loss.values.tolist() == [0.5, 0.5] and curves.throughput.values.tolist() == [10, 10]
    assert curves.components["a"].values.tolist() == [0.2, 0.4]
    assert (curves.validation.steps.tolist(), curves.validation.values.tolist()) == ([2], [0.25])
    assert curves.grad_norm.steps.size == 0
