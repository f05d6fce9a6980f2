"""Generated files: PDEBench's layout, the same bytes every time, whole or absent, reused only when all agrees."""

import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from ups_engine.config.data import GenerateSettings
from ups_engine.data.generate.write import TASKS, is_made_with, make, make_or_reuse
from ups_engine.data.sources import open_source
from ups_engine.errors import DataError

SMALL = GenerateSettings(trajectories=5, points=32, frames=4, t_end=0.2, nu=0.02, beta=-0.5, seed=7)


@pytest.mark.parametrize(("task", "parameter", "value"), [("burgers1d", "nu", 0.02), ("advection1d", "beta", -0.5)])
def test_a_made_file_is_pdebenchs_layout(tmp_path, task, parameter, value):
    path = make(task, SMALL, tmp_path / TASKS[task].file_name(SMALL))
    with h5py.File(path) as file:
        assert {name: (file[name].shape, file[name].dtype) for name in file} == {
            "tensor": ((5, 4, 32), np.float32),
            "x-coordinate": ((32,), np.float32),
            "t-coordinate": ((5,), np.float32),
        }
        assert np.isfinite(file["tensor"][()]).all()
    source = open_source(path)
    assert (source.info.task, source.info.parameters) == (task, (parameter,))
    assert source.parameters([0]).tolist() == [[value]]
    assert source.info.time[-1] == pytest.approx(0.2)
    assert source.info.dt == pytest.approx(0.2 / 3, rel=1e-6)


def test_making_twice_gives_the_same_bytes_and_more_trajectories_begin_the_same(tmp_path):
    first, second = (make("burgers1d", SMALL, tmp_path / name) for name in ("a.h5", "b.h5"))
    assert first.read_bytes() == second.read_bytes()
    more = make("burgers1d", SMALL.model_copy(update={"trajectories": 9}), tmp_path / "c.h5")
    assert np.array_equal(open_source(more).read(range(5)), open_source(first).read(range(5)))


def test_a_made_file_is_used_again_only_if_every_parameter_agrees(tmp_path):
    path, told = tmp_path / "a.h5", []
    make_or_reuse("burgers1d", SMALL, path, told.append)
    made = path.stat().st_mtime_ns
    make_or_reuse("burgers1d", SMALL, path, told.append)
    assert path.stat().st_mtime_ns == made
    assert "used again" in told[-1]
    for key, value in {"trajectories": 4, "points": 16, "frames": 5, "t_end": 0.3, "nu": 0.01, "seed": 8}.items():
        assert not is_made_with(path, "burgers1d", SMALL.model_copy(update={key: value}))
    assert is_made_with(path, "burgers1d", SMALL.model_copy(update={"beta": 9.0}))
    assert not is_made_with(path, "advection1d", SMALL)
    with pytest.raises(DataError, match="left as it is"):
        make_or_reuse("burgers1d", SMALL.model_copy(update={"seed": 8}), path, told.append)
    path.write_bytes(path.read_bytes()[:3000])
    assert not is_made_with(path, "burgers1d", SMALL)
    make_or_reuse("burgers1d", SMALL, path, told.append, replace=True)
    assert is_made_with(path, "burgers1d", SMALL)


def test_progress_rises_to_one(tmp_path):
    shares = []
    make("advection1d", SMALL, tmp_path / "a.h5", shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


class StoppedError(RuntimeError):
    pass


def test_work_stopped_from_the_progress_callback_leaves_nothing(tmp_path):
    def stop(share):
        raise StoppedError

    with pytest.raises(StoppedError):
        make("burgers1d", SMALL, tmp_path / "a.h5", stop)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_maker_leaves_nothing_that_looks_complete(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from ups_engine.config.data import GenerateSettings
from ups_engine.data.generate.write import make
settings = GenerateSettings(**{SMALL.model_dump()!r})
make("burgers1d", settings, Path({str(tmp_path / "a.h5")!r}), lambda share: os.kill(os.getpid(), signal.SIGKILL))
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
from ups_engine.data.generate.write import make
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
    assert "advection1d and burgers1d" in caught.value.hint
