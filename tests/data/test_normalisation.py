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


def fitted(values, rows, limit=None):
    asked = []

    def read(trajectories, frames):
        asked.append((trajectories, frames))
        return values[trajectories][:, frames]

    frame_bytes = int(np.prod(values.shape[2:])) * 4
    return fit(read, np.asarray(rows), values.shape[1], frame_bytes), asked


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


@pytest.mark.parametrize("constant", [0.0, 3.0, -1e4, 0.1])
def test_a_constant_channel_is_left_unscaled(constant):
    values = np.full((4, 3, 8, 1), constant, np.float32)
    got, _ = fitted(values, np.arange(4))
    assert got.std.tolist() == [1.0]
    assert got.apply(torch.from_numpy(values)).abs().max() < 1e-3


def test_channels_taken_for_constant_are_told_and_others_are_not():
    values = np.random.default_rng(0).normal(size=(4, 3, 8, 4)).astype(np.float32)
    values[..., 1] = 101325
    values[..., 2] = 101325 + 0.5 * values[..., 2]
    values[..., 3] = 0
    told = []
    fit(lambda rows, frames: values[rows][:, frames], np.arange(4), 3, 128, told.append)
    assert told == [[1, 3]]
    fit(lambda rows, frames: values[rows][:, frames, ..., ::2], np.arange(4), 3, 64, told.append)
    assert told == [[1, 3]]


@given(st.integers(1, 4), st.integers(0, 1000))
def test_apply_and_invert_are_numpys_to_the_bit_and_undo_each_other(channels, seed):
    rng = np.random.default_rng(seed)
    scale = Normalisation(
        rng.normal(size=channels).astype(np.float32), rng.uniform(0.1, 10, size=channels).astype(np.float32)
    )
    values = rng.normal(size=(2, 5, channels)).astype(np.float32)
    there = scale.apply(torch.from_numpy(values))
    assert there.dtype == torch.float32
    assert np.array_equal(there.numpy(), (values - scale.mean) / scale.std)
    back = scale.invert(there).numpy()
    assert np.array_equal(back, there.numpy() * scale.std + scale.mean)
    assert back == pytest.approx(values, abs=1e-5)


def test_tensors_first_met_in_inference_also_serve_training():
    scale = Normalisation(np.array([1.0], np.float32), np.array([2.0], np.float32))
    with torch.inference_mode():
        scale.apply(torch.ones(3, 1))
    values = torch.ones(3, 1, requires_grad=True)
    (scale.apply(values) ** 2).sum().backward()
    scale.invert(values).sum().backward()
    assert torch.isfinite(values.grad).all()
    assert scale.apply(torch.ones(3, 1, dtype=torch.float64)).dtype == torch.float64


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=1, max_size=4))
def test_json_round_trips_are_exact(numbers):
    scale = Normalisation(np.array(numbers, np.float32), np.abs(np.array(numbers, np.float32)) + 1)
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
