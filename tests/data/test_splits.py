"""Splits: disjoint, complete, a function of their arguments, declared where declared, and proven by content."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ups_engine.config.data import DataSettings
from ups_engine.data.sources import open_source
from ups_engine.data.splits import SPLITS, Splits, choose_splits, draw_splits, parameter_groups, prove_disjoint
from ups_engine.errors import DataError, SettingsError

FRACTIONS = st.floats(0.001, 0.499)


def choose(source, exclude=(), limit=None):
    data = DataSettings.model_construct(val_fraction=0.1, test_fraction=0.1, exclude=exclude, trajectories=limit)
    return choose_splits(parameter_groups(source), data, seed=0)


@given(st.integers(3, 2000), FRACTIONS, FRACTIONS, st.integers(-(2**70), 2**70))
def test_drawn_splits_are_disjoint_complete_and_repeatable(n, val, test, seed):
    splits = draw_splits(n, val, test, seed)
    assert sorted(splits.all().tolist()) == list(range(n))
    assert all(splits.of(name).size for name in SPLITS)
    assert splits.test.tolist() == list(range(len(splits.test)))
    assert splits.to_json() == draw_splits(n, val, test, seed).to_json()


def test_ten_percent_of_the_first_test_as_pdebench_does():
    splits = draw_splits(1000, 0.1, 0.1, seed=0)
    assert [len(splits.of(name)) for name in SPLITS] == [800, 100, 100]
    assert splits.test[-1] == 99
    assert splits.val.tolist() != draw_splits(1000, 0.1, 0.1, seed=1).val.tolist()


def test_the_drawn_rows_stay_the_same_between_versions():
    assert draw_splits(12, 0.2, 0.1, seed=0).val.tolist() == [1, 3]


def test_too_few_trajectories_are_refused():
    with pytest.raises(DataError, match="2 trajectories"):
        draw_splits(2, 0.1, 0.1, 0)


def test_splits_cannot_share_or_lack_trajectories():
    with pytest.raises(DataError, match="share"):
        Splits(np.array([0, 1]), np.array([1]), np.array([2]))
    with pytest.raises(DataError, match="val split"):
        Splits(np.array([0, 1]), np.array([], dtype=int), np.array([2]))


def test_declared_splits_are_taken_as_they_are(tmp_path, write_converted, random_fields):
    for seed, (split, rows) in enumerate({"train_0": 4, "train_1": 3, "valid": 2, "test": 5}.items()):
        write_converted(tmp_path / f"burgers1d_{split}.h5", random_fields(rows, 3, 8, seed=seed))
    splits = choose(open_source(tmp_path))
    assert splits.to_json() == {
        "train": list(range(7)),
        "val": [7, 8],
        "test": list(range(9, 14)),
    }


@pytest.mark.parametrize(("given_split", "drawn"), [("test", "val"), ("val", "test")])
def test_a_split_that_is_not_declared_is_drawn_from_train(tmp_path, write_converted, random_fields, given_split, drawn):
    write_converted(tmp_path / "burgers1d_train.h5", random_fields(20, 3, 8))
    write_converted(tmp_path / f"burgers1d_{given_split}.h5", random_fields(6, 3, 8, seed=1))
    splits = choose(open_source(tmp_path))
    assert splits.of(given_split).tolist() == list(range(20, 26))
    assert len(splits.of(drawn)) == 2
    assert sorted(splits.all().tolist()) == list(range(26))


def test_one_declared_split_alone_is_divided(tmp_path, write_converted, random_fields):
    path = write_converted(tmp_path / "burgers1d_test.h5", random_fields(10, 3, 8))
    assert [len(choose(open_source(path)).of(name)) for name in SPLITS] == [8, 1, 1]


def test_each_parameter_is_trained_and_tested_on_the_same_initial_states(tmp_path, write_pdebench, random_fields):
    for nu in (0.1, 0.01):
        write_pdebench(tmp_path / f"1D_Burgers_Sols_Nu{nu}.hdf5", random_fields(20, 3, 8))
    splits = choose(open_source(tmp_path))
    assert splits.test.tolist() == [0, 1, 20, 21]
    assert (splits.val[2:] - 20).tolist() == splits.val[:2].tolist()


def test_small_shards_of_different_parameters_are_drawn_from_together(tmp_path, write_pdebench, random_fields):
    for nu in (0.1, 0.01, 0.2):
        write_pdebench(tmp_path / f"1D_Burgers_Sols_Nu{nu}.hdf5", random_fields(1, 3, 8))
    assert sorted(choose(open_source(tmp_path)).all().tolist()) == [0, 1, 2]


def test_excluded_and_superfluous_trajectories_are_left_out(tmp_path, write_pdebench, random_fields):
    source = open_source(write_pdebench(tmp_path / "a.h5", random_fields(30, 2, 8)))
    assert sorted(choose(source, exclude=(0, 3), limit=10).all().tolist()) == [1, 2, *range(4, 12)]
    with pytest.raises(SettingsError, match="trajectory 30, but there are 30"):
        choose(source, exclude=(30,))
    with pytest.raises(SettingsError, match="holds 30"):
        choose(source, limit=31)


@given(limit=st.integers(3, 40))
def test_a_limit_is_met_exactly_over_several_files(tmp_path_factory, limit):
    import h5py

    folder = tmp_path_factory.getbasetemp() / "limited"
    if not folder.exists():
        folder.mkdir()
        for nu, rows in ((0.1, 23), (0.2, 10), (0.3, 7)):
            with h5py.File(folder / f"burgers1d_nu{nu}.h5", "w") as file:
                file["data"] = np.zeros((rows, 2, 4), np.float32)
    assert len(choose(open_source(folder), limit=limit).all()) == limit


def test_disjoint_data_passes_the_proof(tmp_path, write_pdebench, random_fields):
    source = open_source(write_pdebench(tmp_path / "a.h5", random_fields(10, 4, 8)))
    prove_disjoint(source, choose(source))


def test_a_copied_trajectory_is_found_and_named(tmp_path, write_pdebench, random_fields):
    values = random_fields(12, 4, 8)
    values[0] = values[7] = values[11]
    source = open_source(write_pdebench(tmp_path / "a.h5", values))
    with pytest.raises(DataError, match="trajectory 0 of the test split is also in the train split") as caught:
        prove_disjoint(source, Splits(np.arange(2, 12), np.array([1]), np.array([0])))
    assert "data.exclude=[0]" in caught.value.hint


def test_test_rows_contained_in_train_are_found_across_files(tmp_path, write_converted, random_fields):
    values = random_fields(10, 4, 6, 6, 2)
    write_converted(tmp_path / "darcy_train.h5", values)
    write_converted(tmp_path / "darcy_test.h5", values[3:5])
    source = open_source(tmp_path)
    with pytest.raises(DataError, match="and 1 more like it"):
        prove_disjoint(source, choose(source))


def test_equal_initial_states_of_other_evolution_are_no_duplicates(tmp_path, write_pdebench, random_fields):
    values = random_fields(10, 4, 8)
    values[:, 0] = values[0, 0]
    source = open_source(write_pdebench(tmp_path / "a.h5", values))
    prove_disjoint(source, choose(source))


@pytest.mark.parametrize("stride", [1, 3])
def test_overlapping_windows_of_one_series_are_refused_across_splits(tmp_path, write_converted, random_fields, stride):
    frames, windows = 6, 40
    series = random_fields(windows * stride + frames, 16)
    cut = np.stack([series[start * stride : start * stride + frames] for start in range(windows)])
    source = open_source(write_converted(tmp_path / "windows.h5", cut))
    with pytest.raises(DataError, match=rf"are windows of one series: frame {stride} of the one is frame 0") as refused:
        prove_disjoint(source, choose(source))
    assert "_train, _val and _test" in refused.value.hint


def test_windows_that_do_not_overlap_and_states_that_recur_pass_the_proof(tmp_path, write_converted, random_fields):
    frames, windows = 6, 40
    series = random_fields(windows * frames, 16)
    cut = series.reshape(windows, frames, 16)
    prove_disjoint(source := open_source(write_converted(tmp_path / "windows.h5", cut)), choose(source))
    cut[:, 3] = cut[0, 0]  # a state that all pass through on their way elsewhere
    prove_disjoint(source := open_source(write_converted(tmp_path / "recurring.h5", cut)), choose(source))
