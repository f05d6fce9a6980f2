"""Pairs: every one numbered once, ordered by a pure function, gathered with what goes with it."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ups_engine.config.layers import load_settings
from ups_engine.data.prepare import prepare_data
from ups_engine.latents.pairs import LatentPairs, PairIndex


@given(st.integers(1, 30), st.integers(2, 30), st.data())
def test_pair_numbers_and_pairs_match_one_to_one(trajectories, frames, data):
    horizon = data.draw(st.integers(1, frames - 1))
    numbers = np.arange(100, 100 + trajectories)
    index = PairIndex(numbers, frames, horizon)
    rows, starts = index.positions(torch.arange(len(index)))
    assert len({*zip(rows.tolist(), starts.tolist(), strict=True)}) == len(index) == trajectories * (frames - horizon)
    assert set(rows.tolist()) == set(range(trajectories))
    assert index.describe(torch.tensor([len(index) - 1])) == f"trajectory {numbers[-1]} frame {frames - horizon - 1}"
    assert starts.min() == 0
    assert starts.max() + horizon == frames - 1


@pytest.mark.parametrize("horizon", [0, 5, 6])
def test_a_horizon_beyond_the_frames_is_refused(horizon):
    with pytest.raises(ValueError, match="horizon"):
        PairIndex(np.arange(3), 5, horizon)


class Latents:
    """A cache in a tensor, (rows, frames, tokens, dim), whose values say where they come from."""

    def __init__(self, rows, frames):
        place = torch.arange(rows)[:, None] * 100 + torch.arange(frames)
        self.values = place[..., None, None].expand(rows, frames, 4, 2).float()

    def gather(self, rows, frames, horizon):
        rows, frames = torch.as_tensor(rows), torch.as_tensor(frames)
        return self.values[rows[:, None], frames[:, None] + torch.arange(1 + horizon)]

    def sequence(self, rows, frames):
        return Announced(self, rows, frames)


class Announced:
    def __init__(self, latents, rows, frames):
        self.latents, self.rows, self.frames = latents, rows, frames

    def take(self, first, count, horizon):
        part = slice(first, first + count)
        return self.latents.gather(self.rows[part], self.frames[part], horizon)


@pytest.fixture
def member(tmp_path):
    rng = np.random.default_rng(0)
    for nu in (0.1, 0.01):
        with h5py.File(tmp_path / f"nu{nu}.h5", "w") as file:
            file["data"] = rng.normal(size=(10, 6, 16)).astype(np.float32)
            file.attrs.update(nu=nu, dt=0.05)
    overrides = [f"data.path={tmp_path}", "data.time_stride=1", "data.spatial_stride=1"]
    return prepare_data(load_settings(overrides=overrides, folder=tmp_path, env={}, home=tmp_path).settings).members[0]


def test_a_batch_holds_the_pairs_that_were_announced_for_its_place(member):
    rows = len(member.splits.train)
    pairs = LatentPairs(Latents(rows, 6), member, "train", 2, torch.device("cpu"))
    assert len(pairs) == rows * 4
    pairs.announce(torch.tensor([7, 0, 4 * rows - 1, 5]))
    batch = pairs.take(1, 3)
    assert batch.z0[:, 0, 0].tolist() == [0, (rows - 1) * 100 + 3, 101]
    assert torch.equal(batch.future[:, 1], batch.z0 + 2)
    assert torch.equal(batch.z1, batch.z0 + 1)
    assert batch.dt.tolist() == pytest.approx([0.05] * 3)
    assert (batch.rows.tolist(), batch.frames.tolist()) == ([0, rows - 1, 1], [0, 3, 1])
    trajectories = member.splits.train[[0, rows - 1, 1]]
    assert np.array_equal(batch.cond.numpy(), member.parameters(trajectories))
    assert set(batch.cond[:, 0].tolist()) == {-1.0, 1.0}
    assert torch.equal(pairs.take(1, 3, horizon=1).future, batch.future[:, :1])


def test_any_pairs_can_be_had_by_their_numbers(member):
    pairs = LatentPairs(Latents(len(member.splits.train), 6), member, "train", 1, torch.device("cpu"))
    numbers = torch.tensor([11, 2, 2])
    pairs.announce(numbers)
    for one, other in zip(vars(pairs.at(numbers)).values(), vars(pairs.take(0, 3)).values(), strict=True):
        assert torch.equal(one, other)
