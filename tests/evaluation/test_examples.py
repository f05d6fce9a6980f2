"""The field examples of an evaluation: what was scored, small enough to look at, whole or absent on the disk."""

import math
import subprocess
import sys

import numpy as np
import pytest

from ups_engine.discretisation.grid import RegularGrid
from ups_engine.errors import RunError
from ups_engine.evaluation.examples import (
    MOST_BYTES,
    MOST_FRAMES,
    Examples,
    examples_path,
    kept_frames,
    kept_points,
)
from ups_engine.pipeline.reopen import evaluate_run


def examples(space=(8,), trajectories=2, frames=5, channels=1):
    shape = (trajectories, frames, *space, channels)
    truth = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Examples(
        truth=truth,
        prediction=truth + 1,
        frames=np.arange(frames),
        time=0.1 * np.arange(frames),
        coordinates=tuple((np.arange(points) + 0.5) / points for points in space),
        trajectories=np.arange(trajectories) + 7,
        fields=tuple("uvw"[:channels]),
        units=("m/s",) * channels,
        given=2,
        variant="operator",
        split="test",
    )


@pytest.mark.parametrize("space", [(8,), (6, 4), (4, 3, 2)])
def test_what_is_written_is_read(tmp_path, space):
    stored = examples(space, channels=2)
    stored.write(tmp_path / "reports/fields.npz")
    found = Examples.read(tmp_path / "reports/fields.npz")
    for name in ("truth", "prediction", "frames", "time", "trajectories"):
        assert np.array_equal(getattr(found, name), getattr(stored, name))
    assert all(map(np.array_equal, found.coordinates, stored.coordinates))
    for name in ("fields", "units", "given", "variant", "split"):
        assert getattr(found, name) == getattr(stored, name)


def test_a_missing_damaged_or_foreign_file_is_named(tmp_path):
    path = tmp_path / "fields.npz"
    with pytest.raises(RunError, match="there are no field examples") as missing:
        Examples.read(path)
    assert "ups evaluate" in missing.value.hint
    examples().write(path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not an archive"):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"fields\.npz holds no field examples"):
            Examples.read(path)
    np.savez(path, truth=np.zeros(3))
    with pytest.raises(RunError, match="holds no field examples"):
        Examples.read(path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "fields.npz"
    examples().write(path)
    before = path.read_bytes()

    def full(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(RunError, match="no space is left"):
        examples(frames=9).write(path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_examples_lie_beside_their_report(tmp_path):
    assert examples_path(tmp_path / "evaluation.json") == tmp_path / "fields.npz"
    assert examples_path(tmp_path / "evaluation-val-3.json") == tmp_path / "fields-val-3.npz"


@pytest.mark.parametrize(
    ("frames", "space", "channels"), [(41, (256,), 1), (128, (1024,), 1), (21, (512, 512), 4), (128, (64, 64, 64), 5)]
)
def test_large_fields_are_thinned_just_enough(frames, space, channels):
    def size(stride):
        return 2 * 4 * 4 * frames * channels * math.prod(-(-points // stride) for points in space)

    grid = RegularGrid(tuple(np.arange(n) / n for n in space), (1.0,) * len(space), (True,) * len(space))
    part, coordinates = grid.thinned(kept_points(4, frames, channels))
    stride = part[0].step
    assert [len(axis) for axis in coordinates] == [-(-points // stride) for points in space]
    assert size(stride) <= MOST_BYTES
    assert stride == 1 or size(stride - 1) > MOST_BYTES


def test_both_ends_of_a_long_trajectory_are_kept():
    assert kept_frames(41).tolist() == list(range(41))
    kept = kept_frames(1001)
    assert (len(kept), kept[0], kept[-1]) == (MOST_FRAMES, 0, 1000)
    assert set(np.diff(kept)) <= {7, 8}


def test_the_examples_are_what_was_scored(finished):
    """The tiny run's test split is one trajectory, so that the examples' errors are the report's."""
    found, report = Examples.read(finished.path / "reports/fields.npz"), finished.evaluation()
    assert (found.variant, found.split) == (report["selected"], "test")
    assert found.truth.shape == found.prediction.shape == (1, 6, 32, 1)
    assert found.truth.dtype == found.prediction.dtype == np.float32
    assert found.time.tolist() == pytest.approx([0.04 * frame for frame in range(6)])
    assert np.array_equal(found.truth[:, : found.given], found.prediction[:, : found.given])
    error = np.sqrt(np.square(found.prediction - found.truth).mean((0, 2, 3)) / np.square(found.truth).mean((0, 2, 3)))
    selected = report["variants"][report["selected"]]["rollout"]
    assert error[found.given :] == pytest.approx(selected["nrmse_by_frame"], rel=1e-4)


def test_another_protocol_has_examples_of_its_own(copied, monkeypatch):
    monkeypatch.chdir(copied.terminal.folder)
    before = (copied.path / "reports/fields.npz").read_bytes()
    evaluate_run(copied.directory, split="train", initial_steps=3)
    found = Examples.read(copied.path / "reports/fields-train-3.npz")
    assert (found.split, found.given, len(found.trajectories)) == ("train", 3, 4)
    assert (copied.path / "reports/fields.npz").read_bytes() == before


def test_reading_reports_and_examples_needs_no_torch():
    code = "import sys, ups_engine.evaluation.examples, ups_engine.evaluation.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
