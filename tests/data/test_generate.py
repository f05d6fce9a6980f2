"""Generated files: PDEBench's layout, the same bytes every time, whole or absent, reused only when all agrees."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from ups_engine.config.data import DataSettings, GenerateSettings
from ups_engine.data.generate import generated_info, generated_path, is_made_with, make
from ups_engine.data.sources import open_source
from ups_engine.data.tasks import SOLVED, TASKS
from ups_engine.data.tasks.base import Field
from ups_engine.errors import DataError, SettingsError

SMALL = GenerateSettings(trajectories=5, points=32, frames=4, t_end=0.2, parameters={}, seed=7)


@pytest.mark.parametrize("task", SOLVED)
def test_a_made_file_is_pdebenchs_layout(tmp_path, task):
    path, axes = make(task, SMALL, tmp_path / "a.h5"), len(SOLVED[task].axes)
    with h5py.File(path) as file:
        assert {name: (file[name].shape, file[name].dtype) for name in file} == {
            "tensor": ((5, 4, *(32,) * axes), np.float32),
            **{f"{axis}-coordinate": ((32,), np.float32) for axis in "xyz"[:axes]},
            "t-coordinate": ((5,), np.float32),
        }
        assert np.isfinite(file["tensor"][()]).all()


@pytest.mark.parametrize("task", SOLVED)
def test_a_made_file_is_as_foretold(tmp_path, task):
    path = make(task, SMALL, tmp_path / "a.h5")
    told, info = generated_info(task, SMALL, path), open_source(path).info
    for what in ("format", "task", "fields", "trajectories", "frames", "resolution", "periodic", "parameters", "files"):
        assert getattr(told, what) == getattr(info, what), what
    assert told.dt == pytest.approx(info.dt, rel=1e-6)
    for ours, theirs in zip((*told.coordinates, told.time), (*info.coordinates, info.time), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
    assert info.bytes <= told.bytes < info.bytes + 2**18


@pytest.mark.parametrize(
    ("task", "parameters", "name"),
    [
        ("burgers1d", {"nu": 0.02}, "1D_Burgers_Sols_Nu0.02_N5_X32_T4_tend0.2_seed7.hdf5"),
        ("advection1d", {"beta": -0.5}, "1D_Advection_Sols_beta-0.5_N5_X32_T4_tend0.2_seed7.hdf5"),
        ("heat2d", {}, "2D_Heat_Sols_kappa0.01_N5_X32_T4_tend0.2_seed7.hdf5"),
    ],
)
def test_a_made_file_has_the_name_and_the_attributes_by_which_it_is_found_again(tmp_path, task, parameters, name):
    settings = SMALL.model_copy(update={"parameters": parameters})
    path = generated_path(task, DataSettings.model_construct(root=str(tmp_path), generate=settings))
    assert path == tmp_path / "generated" / name
    make(task, settings, path)
    values = SOLVED[task].values(parameters)
    with h5py.File(path) as file:
        assert json.loads(file.attrs["ups_generate"]) == {
            "task": task,
            "solvers": 1,
            "trajectories": 5,
            "points": 32,
            "frames": 4,
            "t_end": 0.2,
            "seed": 7,
            **values,
        }
        assert {key: file.attrs[key] for key in file.attrs if key != "ups_generate"} == {"task": task, **values}


def test_units_of_a_declared_field_are_written(tmp_path, monkeypatch):
    kelvin = replace(SOLVED["heat2d"], fields=(Field("u", "K", (1, 1)),))
    monkeypatch.setitem(TASKS, "heat2d", kelvin)
    assert open_source(make("heat2d", SMALL, tmp_path / "a.h5")).info.fields[0].unit == "K"


def test_making_twice_gives_the_same_bytes_and_more_trajectories_begin_the_same(tmp_path):
    first, second = (make("burgers1d", SMALL, tmp_path / name) for name in ("a.h5", "b.h5"))
    assert first.read_bytes() == second.read_bytes()
    more = make("burgers1d", SMALL.model_copy(update={"trajectories": 9}), tmp_path / "c.h5")
    assert np.array_equal(open_source(more).read(range(5)), open_source(first).read(range(5)))


def test_a_made_file_is_used_again_only_if_every_parameter_agrees(tmp_path):
    path, told = tmp_path / "a.h5", []
    make("burgers1d", SMALL, path, told.append)
    made = path.stat().st_mtime_ns
    make("burgers1d", SMALL, path, told.append)
    assert path.stat().st_mtime_ns == made
    assert "used again" in told[-1]
    for key, value in {"trajectories": 4, "points": 16, "frames": 5, "t_end": 0.3, "seed": 8}.items():
        assert not is_made_with(path, "burgers1d", SMALL.model_copy(update={key: value}))
    assert not is_made_with(path, "burgers1d", SMALL.model_copy(update={"parameters": {"nu": 0.02}}))
    assert is_made_with(path, "burgers1d", SMALL.model_copy(update={"parameters": {"nu": 0.01}}))
    assert not is_made_with(path, "advection1d", SMALL)
    with pytest.raises(DataError, match="left as it is"):
        make("burgers1d", SMALL.model_copy(update={"seed": 8}), path, told.append)
    path.write_bytes(path.read_bytes()[:3000])
    assert not is_made_with(path, "burgers1d", SMALL)
    make("burgers1d", SMALL, path, told.append, replace=True)
    assert is_made_with(path, "burgers1d", SMALL)


def test_progress_rises_to_all_trajectories(tmp_path):
    told = []
    make("advection1d", SMALL, tmp_path / "a.h5", advance=lambda *progress: told.append(progress))
    assert told == sorted(told)
    assert told[-1] == ("solving advection1d", 5, 5)


class StoppedError(RuntimeError):
    pass


def test_work_stopped_from_the_progress_callback_leaves_nothing(tmp_path):
    def stop(what, done, total):
        raise StoppedError

    with pytest.raises(StoppedError):
        make("burgers1d", SMALL, tmp_path / "a.h5", advance=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_maker_leaves_nothing_that_looks_complete(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from ups_engine.config.data import GenerateSettings
from ups_engine.data.generate import make
settings = GenerateSettings(**{SMALL.model_dump()!r})
path = Path({str(tmp_path / "a.h5")!r})
make("burgers1d", settings, path, advance=lambda *told: os.kill(os.getpid(), signal.SIGKILL))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    leftover = next(iter(tmp_path.iterdir()))
    assert leftover.name.startswith(".a.h5.")
    with pytest.raises(DataError, match="no HDF5 files"):
        open_source(tmp_path)
    make("burgers1d", SMALL, tmp_path / "a.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("limit", [1000, 40_000])
def test_a_disk_that_takes_no_more_is_one_clear_message(tmp_path, limit):
    code = f"""
import resource
from pathlib import Path
from ups_engine.config.data import GenerateSettings
from ups_engine.data.generate import make
from ups_engine.errors import DataError
settings = GenerateSettings(**{dict(SMALL.model_dump(), trajectories=100)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    make("advection1d", settings, Path({str(tmp_path / "a.h5")!r}))
except DataError as problem:
    print(problem.message)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "a.h5 cannot be written" in run.stdout
    assert run.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_message(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        make("burgers1d", SMALL, tmp_path / "file" / "a.h5")


def test_an_unknown_task_names_those_there_are(tmp_path):
    with pytest.raises(DataError, match="no solver for task 'darcy2d'") as caught:
        make("darcy2d", SMALL, tmp_path / "a.h5")
    assert caught.value.hint.startswith("it can make ")
    assert all(name in caught.value.hint for name in SOLVED)


def test_an_unknown_parameter_names_the_nearest_and_those_there_are(tmp_path):
    settings = SMALL.model_copy(update={"parameters": {"kapa": 0.1}})
    with pytest.raises(SettingsError, match=r"data.generate.parameters.kapa: heat2d has no parameter 'kapa'") as caught:
        make("heat2d", settings, tmp_path / "a.h5")
    assert caught.value.hint == "the nearest is kappa; it has kappa (diffusivity, 0.01)"


def test_a_parameter_that_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"data.generate.parameters.nu = -1 must be above 0"):
        make("burgers1d", SMALL.model_copy(update={"parameters": {"nu": -1}}), tmp_path / "a.h5")
