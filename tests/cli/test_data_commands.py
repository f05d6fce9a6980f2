"""`ups data`, run as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ups_app.cli.main import main

SMALL = [
    part
    for pair in ("trajectories=5", "points=32", "frames=4", "t_end=0.2")
    for part in ("--set", f"data.generate.{pair}")
]
NAME = "1D_Burgers_Sols_Nu0.01_N5_X32_T4_tend0.2_seed0.hdf5"


@pytest.fixture
def ups(tmp_path, monkeypatch, capsys):
    """Run `ups` in an empty folder and home; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return run


def test_make_writes_under_the_data_root_and_prints_the_path_alone(ups):
    code, out, err = ups("data", "make", "burgers1d", *SMALL)
    assert (code, out) == (0, f"data/generated/{NAME}\n")
    assert "solving burgers1d: " in err
    code, again, err = ups("data", "make", "burgers1d", *SMALL)
    assert (code, again) == (0, out)
    assert "used again" in err


@pytest.mark.parametrize(("output", "path"), [("here.h5", "here.h5"), ("folder", f"folder/{NAME}")])
def test_make_takes_a_file_or_a_folder(ups, output, path):
    code, out, _ = ups("data", "make", "burgers1d", "-o", output, "--json", *SMALL)
    assert code == 0
    assert json.loads(out) == {"path": path, "task": "burgers1d", "bytes": Path(path).stat().st_size}


def test_make_overwrites_nothing(ups):
    Path("mine.h5").write_text("precious")
    code, out, err = ups("data", "make", "burgers1d", "-o", "mine.h5", *SMALL)
    assert (code, out) == (1, "")
    assert "left as it is" in err
    assert Path("mine.h5").read_text() == "precious"


def test_make_of_an_unknown_task_is_one_clear_error(ups):
    code, out, err = ups("data", "make", "darcy2d")
    assert (code, out) == (1, "")
    assert "no solver for task 'darcy2d'" in err
    assert "Traceback" not in err


def test_inspect_prints_what_a_made_file_is(ups):
    ups("data", "make", "advection1d", "-o", "a.h5", *SMALL)
    code, out, err = ups("data", "inspect", "a.h5")
    assert (code, err) == (0, "")
    for words in ("PDEBench single file", "advection1d", "5x4x32", "periodic", "What UPS would do:", "beta"):
        assert words in out
    code, out, _ = ups("data", "inspect", "a.h5", "--json")
    shown = json.loads(out)
    assert code == 0
    assert {"format", "task", "fields", "trajectories", "frames", "resolution", "dt", "parameters", "bytes"} <= set(
        shown
    )
    assert shown["parameters"] == {"beta": [0.4]}


def test_inspect_warns_of_bad_values_and_prints_strict_json(ups):
    with h5py.File("bad.h5", "w") as file:
        file["data"] = np.full((4, 3, 8), np.nan, np.float32)
    code, _, err = ups("data", "inspect", "bad.h5")
    assert code == 0
    assert "non-finite" in err
    shown = json.loads(ups("data", "inspect", "bad.h5", "--json")[1], parse_constant=pytest.fail)
    assert shown["fields"][0]["sampled"] == {"min": None, "max": None, "finite": False}


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), (b"", "not an HDF5 file"), (b"hello", "not an HDF5 file")],
)
def test_inspect_of_what_it_cannot_read_is_one_clear_error(ups, content, words):
    if content is not None:
        Path("x.h5").write_bytes(content)
    code, out, err = ups("data", "inspect", "x.h5")
    assert (code, out) == (1, "")
    assert words in err
    assert len(err.strip().splitlines()) == 2


@pytest.mark.skipif("UPS_PDEBENCH_BURGERS" not in os.environ, reason="UPS_PDEBENCH_BURGERS names no file of PDEBench's")
def test_inspect_describes_pdebenchs_own_file(ups):
    code, out, _ = ups("data", "inspect", os.environ["UPS_PDEBENCH_BURGERS"], "--json")
    shown = json.loads(out)
    assert code == 0
    assert (shown["task"], shown["resolution"], shown["dt"]) == ("burgers1d", [1024], 0.01)
    assert shown["parameters"] == {"nu": [0.01]}


def test_inspect_leaves_torch_out(tmp_path):
    code = (
        "import sys; from ups_app.cli.main import main\n"
        "try: main(['data', 'inspect', 'absent.h5'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, 'h5py' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert run.stdout.split() == ["False", "True"]
