"""Normalisation: exact against numpy, from the rows it is given alone, reversible."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.data import normalisation
from ups_engine.data.normalisation import Normalisation, fit
from ups_engine.data.scaling import ParameterScaling
from ups_engine.errors import DataError


def fitted(values, rows):
    asked = []

    def read(trajectories, frames):
        asked.append((trajectories, frames))
        return values[trajectories][:, frames]

    frame_bytes = int(np.prod(values.shape[2:])) * 4
    return fit(read, np.asarray(rows), values.shape[1], frame_bytes).normalisation, asked


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 3), st.floats(-1e4, 1e4), st.integers(0, 99))
def test_streamed_statistics_equal_numpys(rows, frames, channels, offset, seed):
    values = (np.random.default_rng(seed).normal(size=(rows, frames, 7, channels)) * 3 + offset).astype(np.float32)
    got, _ = fitted(values, np.arange(rows))
    flat = values.astype(np.float64).reshape(-1, channels)
    assert got.mean == pytest.approx(flat.mean(axis=0), rel=1e-6, abs=1e-6)
    assert got.std == pytest.approx(flat.std(axis=0), rel=1e-5)


def test_pieces_are_merged_without_losing_accuracy(monkeypatch):
    monkeypatch.setattr(normalisation, "PIECE_BYTES", 100)
    values = (np.random.default_rng(0).normal(size=(50, 4, 8, 1)) + 1000).astype(np.float32)
    got, asked = fitted(values, np.arange(50))
    assert len(asked) == 50
    assert got.std[0] == pytest.approx(values.astype(np.float64).std(), rel=1e-6)


def test_only_the_given_rows_count():
    values = np.random.default_rng(0).normal(size=(10, 3, 8, 1)).astype(np.float32)
    values[5:] = np.nan
    assert np.isfinite(fitted(values, np.arange(5))[0].mean).all()


def test_at_most_512_trajectories_are_read_evenly_spaced():
    values = np.zeros((5000, 1, 1, 1), np.float32)
    rows = np.concatenate([asked[0] for asked in fitted(values, np.arange(5000))[1]])
    assert len(rows) == 512
    assert (rows[0], rows[-1]) == (0, 4999)
    assert np.diff(rows).max() <= 10


def test_large_frames_are_thinned_to_the_byte_limit(monkeypatch):
    monkeypatch.setattr(normalisation, "MAX_BYTES", 32 * 25 * 40)
    _, asked = fitted(np.zeros((64, 100, 10, 1), np.float32), np.arange(64))
    assert sum(len(rows) for rows, _ in asked) == 32
    assert len(asked[0][1]) == 25
    assert asked[0][1][-1] == 99


def measured(values):
    """What fitting all trajectories of (N, T, X, C) values finds."""
    return fit(lambda rows, frames: values[rows][:, frames], np.arange(len(values)), values.shape[1], 64)


@pytest.mark.parametrize("constant", [0.0, 3.0, -1e4, 0.1, 1e30, 1e-30])
def test_a_constant_channel_is_measured_by_its_own_size(constant):
    values = np.full((4, 3, 8, 1), constant, np.float32)
    found = measured(values)
    assert found.constant == (0,) and not found.coarse
    assert found.normalisation.std == pytest.approx([abs(constant) or 1.0])
    assert found.normalisation.apply(torch.from_numpy(values)).abs().max() < 1e-6


def test_channels_that_their_number_format_does_not_resolve_are_told_from_others():
    values = np.random.default_rng(0).normal(size=(4, 3, 8, 5))
    values[..., 1:] = 101325 + values[..., 1:] * [1e-4, 0.05, 10.0, 0.0]
    values[..., 4] = 0
    single, double = measured(values.astype(np.float32)), measured(values)
    assert (single.constant, single.coarse) == ((1, 4), (2,))
    assert (double.constant, double.coarse) == ((4,), ())
    assert double.normalisation.std[2] == pytest.approx(values[..., 2].std(), rel=1e-9)


def test_values_whose_squares_overflow_are_refused_with_what_to_do():
    with pytest.raises(DataError, match="too large") as refused:
        measured(np.random.default_rng(0).normal(size=(4, 3, 8, 1)) * 1e160)
    assert "below 1e150" in refused.value.hint


@settings(deadline=None)
@given(
    st.floats(-30, 30),
    st.sampled_from([-1.0, 1.0]),
    st.floats(-1e6, 1e6),
    st.integers(0, 99),
)
def test_another_unit_gives_the_same_normalised_inputs(exponent, sign, offset, seed):
    """c u + b, with b in standard deviations; c < 0 turns them round."""
    u = np.random.default_rng(seed).normal(size=(6, 4, 16, 1))
    scale = sign * 10.0**exponent
    other = scale * u + abs(scale) * offset * u.std()
    expected = measured(u).normalisation.apply(torch.from_numpy(u))
    found = measured(other).normalisation.apply(torch.from_numpy(other))
    assert found.numpy() == pytest.approx(sign * expected.numpy(), abs=1e-6)


@settings(deadline=None)
@given(st.integers(-100, 100), st.sampled_from([np.float32, np.float64]), st.integers(0, 99))
def test_a_power_of_two_as_unit_gives_the_same_normalised_inputs_to_the_bit(exponent, number_format, seed):
    u = np.random.default_rng(seed).normal(size=(6, 4, 16, 1)).astype(number_format)
    other = u * number_format(2.0**exponent)
    expected = measured(u).normalisation.apply(torch.from_numpy(u))
    assert torch.equal(measured(other).normalisation.apply(torch.from_numpy(other)), expected)


@given(st.integers(1, 4), st.integers(0, 1000))
def test_apply_and_invert_are_numpys_in_float64_to_the_bit_and_undo_each_other(channels, seed):
    rng = np.random.default_rng(seed)
    scale = Normalisation(rng.normal(size=channels), rng.uniform(0.1, 10, size=channels))
    values = rng.normal(size=(2, 5, channels)).astype(np.float32)
    there = scale.apply(torch.from_numpy(values))
    assert there.dtype == torch.float32
    assert np.array_equal(there.numpy(), ((values - scale.mean) / scale.std).astype(np.float32))
    back = scale.invert(there)
    assert back.dtype == torch.float64
    assert np.array_equal(back.numpy(), there.numpy() * scale.std + scale.mean)
    assert back.numpy() == pytest.approx(values, abs=1e-5)


def test_tensors_first_met_in_inference_also_serve_training():
    scale = Normalisation(np.array([1.0]), np.array([2.0]))
    with torch.inference_mode():
        scale.apply(torch.ones(3, 1))
    values = torch.ones(3, 1, requires_grad=True)
    (scale.apply(values) ** 2).sum().backward()
    scale.invert(values).sum().backward()
    assert torch.isfinite(values.grad).all()


@given(st.lists(st.floats(-1e90, 1e90), min_size=1, max_size=4))
def test_json_round_trips_are_exact(numbers):
    scale = Normalisation(np.array(numbers), np.abs(np.array(numbers)) + 1)
    back = Normalisation.from_json(json.loads(json.dumps(scale.to_json())))
    assert np.array_equal(back.mean, scale.mean)
    assert np.array_equal(back.std, scale.std)


def test_conditioning_standardises_by_training_and_silences_constants():
    everywhere = np.array([[0.001, 1.0, -1.0], [0.01, 1.0, 0.0], [0.1, 1.0, 1.0], [1.0, 1.0, 5.0]])
    fit_ = ParameterScaling.fit(("nu", "rho", "beta"), everywhere, everywhere[:3])
    assert fit_.log == (True, True, False)
    got = fit_.apply(everywhere)
    assert got.dtype == np.float32
    assert got[:3].mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-6)
    assert got[:3, [0, 2]].std(axis=0) == pytest.approx([1, 1], abs=1e-6)
    assert got[:, 1].tolist() == [0, 0, 0, 0]
    assert got[3, 0] == pytest.approx(2 * got[2, 0], rel=1e-6)
    assert np.array_equal(ParameterScaling.from_json(json.loads(json.dumps(fit_.to_json()))).apply(everywhere), got)


def test_without_parameters_conditioning_is_empty():
    empty = ParameterScaling.fit((), np.empty((5, 0)), np.empty((3, 0)))
    assert empty.apply(np.empty((5, 0))).shape == (5, 0)
