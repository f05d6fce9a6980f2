"""Pairs: every one numbered once, ordered by a pure function, gathered with what goes with it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ups_engine.data.pairs import LatentPairs, PairIndex, order
from ups_engine.data.prepare import prepare_data

WHERE = {"seed": 3, "stage": "operator", "epoch": 5}


@given(st.integers(1, 30), st.integers(2, 30), st.data())
def test_pair_numbers_and_pairs_match_one_to_one(trajectories, frames, data):
    horizon = data.draw(st.integers(1, frames - 1))
    numbers = np.arange(100, 100 + trajectories)
    index = PairIndex(numbers, frames, horizon)
    rows, starts = index[np.arange(len(index))]
    assert len({*zip(rows.tolist(), starts.tolist(), strict=True)}) == len(index) == trajectories * (frames - horizon)
    assert set(rows.tolist()) == set(numbers.tolist())
    assert starts.min() == 0
    assert starts.max() + horizon == frames - 1


@pytest.mark.parametrize("horizon", [0, 5, 6])
def test_a_horizon_beyond_the_frames_is_refused(horizon):
    with pytest.raises(ValueError, match="horizon"):
        PairIndex(np.arange(3), 5, horizon)


@given(st.integers(0, 300), st.integers(-5, 5), st.sampled_from(["operator", "autoencoder"]), st.integers(0, 50))
def test_an_order_is_a_permutation_and_repeatable(n, seed, stage, epoch):
    first = order(n, seed=seed, stage=stage, epoch=epoch)
    assert sorted(first.tolist()) == list(range(n))
    assert np.array_equal(first, order(n, seed=seed, stage=stage, epoch=epoch))


@pytest.mark.parametrize("change", [{"seed": 4}, {"stage": "diff_residual"}, {"epoch": 6}])
def test_every_argument_changes_the_order(change):
    assert not np.array_equal(order(100, **WHERE), order(100, **{**WHERE, **change}))


def test_the_order_is_the_same_in_another_process_and_between_versions():
    here = order(8, **WHERE).tolist()
    code = f"from ups_engine.data.pairs import order; print(order(8, **{WHERE!r}).tolist())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(here) == "[5, 4, 3, 7, 1, 6, 0, 2]"


class Latents:
    """A cache in a tensor, (rows, frames, tokens, dim), whose values say where they come from."""

    def __init__(self, rows, frames):
        place = torch.arange(rows)[:, None] * 100 + torch.arange(frames)
        self.values = place[..., None, None].expand(rows, frames, 4, 2).float()

    def gather(self, rows, frames, horizon):
        rows, frames = torch.as_tensor(rows), torch.as_tensor(frames)
        return self.values[rows[:, None], frames[:, None] + torch.arange(1 + horizon)]


@pytest.fixture
def dataset(tmp_path, write_pdebench, random_fields, settings_for):
    for nu in (0.1, 0.01):
        write_pdebench(tmp_path / f"1D_Burgers_Sols_Nu{nu}.hdf5", random_fields(10, 6, 16, seed=int(nu * 100)))
    return prepare_data(settings_for(f"data.path={tmp_path}")).members[0]


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_batch_holds_the_pairs_it_was_asked_for(dataset, as_tensor):
    rows = len(dataset.splits.train)
    pairs = LatentPairs(Latents(rows, 6), dataset, "train", horizon=2)
    assert len(pairs) == rows * 4
    numbers = np.array([0, 4 * rows - 1, 5])
    batch = pairs.batch(torch.from_numpy(numbers) if as_tensor else numbers)
    assert batch.z0[:, 0, 0].tolist() == [0, (rows - 1) * 100 + 3, 101]
    assert torch.equal(batch.future[:, 1], batch.z0 + 2)
    assert torch.equal(batch.z1, batch.z0 + 1)
    assert batch.dt.tolist() == pytest.approx([0.05] * 3)
    trajectories = dataset.splits.train[[0, rows - 1, 1]]
    assert np.array_equal(batch.cond.numpy(), dataset.parameters(trajectories))
    assert set(batch.cond[:, 0].tolist()) == {-1.0, 1.0}
    assert batch.input_fields is None
    assert torch.equal(pairs.batch(numbers, horizon=1).future, batch.future[:, :1])


def test_fields_come_normalised_with_their_coordinates(dataset):
    pairs = LatentPairs(Latents(len(dataset.splits.val), 6), dataset, "val", horizon=1)
    batch = pairs.batch(np.array([3, 7]), with_fields=True)
    expected = dataset.read(dataset.splits.val[[0, 1]], np.array([[4], [3]]))[:, 0]
    assert np.array_equal(batch.input_fields.numpy(), dataset.normalisation.apply(expected))
    assert batch.coords.shape == (16, 1)
    assert batch.meta["split"] == "val"
