"""describe: the JSON of the design page, and a plan that follows the settings."""

import json

import h5py
import numpy as np
import pytest

from ups_engine.data.inspect import describe
from ups_engine.errors import DataError


@pytest.fixture
def folder(tmp_path, write_pdebench, random_fields):
    for number, nu in enumerate((0.1, 0.01)):
        write_pdebench(tmp_path / f"1D_Burgers_Sols_Nu{nu}.hdf5", random_fields(10, 5, 64, seed=number))
    return tmp_path


def test_the_designs_keys_are_there_and_say_what_the_files_hold(folder, settings_for):
    shown = json.loads(json.dumps(describe(folder, settings_for()).to_json(), allow_nan=False))
    assert shown["format"] == "PDEBench single file, 1-D"
    assert shown["task"] == "burgers1d"
    assert {key: shown["fields"][0][key] for key in ("name", "shape", "dtype")} == {
        "name": "u",
        "shape": [20, 5, 64],
        "dtype": "float32",
    }
    assert (shown["trajectories"], shown["frames"], shown["resolution"], shown["dt"]) == (20, 5, [64], 0.05)
    assert shown["parameters"] == {"nu": [0.01, 0.1]}
    assert shown["bytes"] == sum(file.stat().st_size for file in folder.glob("*.hdf5"))
    assert shown["coordinates"][0]["periodic"] is True


def test_the_plan_follows_the_settings(folder, settings_for):
    plan = " ".join(describe(folder, settings_for("data.spatial_stride=2", "data.time_stride=2")).plan)
    assert "32 points (stride 2) and 3 frames, dt = 0.1 (stride 2)" in plan
    assert "4 tokens of 8 points" in plan
    assert "Train on 16 trajectories, validate on 2, test on 2" in plan
    assert "Condition on nu and dt." in plan
    assert "kept in RAM" in plan
    assert "read from disk" in " ".join(describe(folder, settings_for("latent.residency='disk'")).plan)


def test_the_plan_says_what_would_be_refused(folder, settings_for):
    assert "does not divide the 64 points" in describe(folder, settings_for("data.spatial_stride=3")).plan[0]
    assert "do not tile" in " ".join(describe(folder, settings_for("data.patch_size=7")).plan)


def test_units_and_bad_values_are_shown(tmp_path, settings_for):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.full((4, 3, 8), np.nan, np.float32)
        file["data"].attrs["units"] = "m/s"
    field = describe(path, settings_for()).fields[0]
    assert field.spec.unit == "m/s"
    assert not field.finite


def test_a_missing_file_is_a_clear_error(tmp_path, settings_for):
    with pytest.raises(DataError, match="no such file"):
        describe(tmp_path / "absent.h5", settings_for())


def test_a_grid_too_small_for_its_patches_is_told_as_training_would(tmp_path, settings_for):
    path = tmp_path / "small.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.random.default_rng(0).normal(size=(12, 5, 64)).astype(np.float32)
        file.attrs["dt"], file.attrs["periodic"] = 0.1, True
    plan = describe(path, settings_for("data.spatial_stride=4", "data.patch_size=8", "data.time_stride=1")).plan
    assert any("do not tile this grid into 4 tokens or more" in line for line in plan)
