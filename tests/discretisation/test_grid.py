"""The regular grid: made from samples, thinned, recorded; and what it refuses."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ups_engine.discretisation import discretisation_of
from ups_engine.discretisation.grid import RegularGrid, cell_centres, grid_points
from ups_engine.discretisation.sample import Sample, validate_sample
from ups_engine.errors import DataError, SettingsError


def sample(*shape, periodic=True, extent=(-1.0, 1.0)):
    coords = grid_points(tuple(cell_centres(points, extent) for points in shape))
    return Sample(
        kind="grid",
        coords=coords,
        connect=None,
        fields={"u": np.zeros((len(coords), 1), np.float32)},
        bc=dict.fromkeys("xyz"[: len(shape)], "periodic" if periodic else "open"),
        meta={"shape": shape},
    )


@pytest.mark.parametrize("shape", [(8,), (6, 4), (2, 4, 6)])
def test_a_grid_is_what_its_sample_says(shape):
    validate_sample(sample(*shape))
    grid = discretisation_of(sample(*shape))
    assert isinstance(grid, RegularGrid)
    assert (grid.shape, grid.points) == (shape, np.prod(shape))
    assert (grid.lengths, grid.periodic) == (pytest.approx((2.0,) * len(shape)), (True,) * len(shape))
    assert np.array_equal(grid_points(grid.coordinates), sample(*shape).coords)


def test_a_stride_takes_every_nth_point_of_every_axis():
    whole, thin = discretisation_of(sample(8, 6)), discretisation_of(sample(8, 6), 2)
    assert thin.shape == (4, 3)
    assert all(np.array_equal(ours, axis[::2]) for ours, axis in zip(thin.coordinates, whole.coordinates, strict=True))
    assert thin.lengths == pytest.approx(whole.lengths)


@pytest.mark.parametrize(
    ("shape", "stride", "words"), [((8, 9), 4, "9 points of a periodic"), ((8,), 8, "fewer than 2")]
)
def test_strides_that_leave_a_seam_or_nothing_are_refused(shape, stride, words):
    with pytest.raises(SettingsError, match=words):
        discretisation_of(sample(*shape), stride)
    assert discretisation_of(sample(9, 9, periodic=False), 4).shape == (3, 3)


def test_a_record_says_all_that_the_grid_is():
    grid = discretisation_of(sample(8, 6, periodic=False), 2)
    stored = json.loads(json.dumps(grid.to_json()))
    assert stored == {
        "kind": "grid",
        "shape": [4, 3],
        "periodic": [False] * 2,
        **{k: stored[k] for k in ("lengths", "origin")},
    }
    assert stored["origin"] == [axis[0] for axis in grid.coordinates]
    assert stored["lengths"] == pytest.approx(grid.lengths)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"meta": {}}, "expected those of a grid of shape"),
        ({"meta": {"shape": (4, 3)}}, r"coords \(8, 2\); expected those of a grid of shape \(4, 3\)"),
        ({"coords": sample(2, 4).coords}, "row-major order"),
        ({"kind": "mesh", "connect": np.array([[0, 1]])}, "no discretisation of kind 'mesh'"),
    ],
)
def test_samples_that_are_no_grid_are_refused(change, words):
    with pytest.raises(DataError, match=words):
        discretisation_of(replace(sample(4, 2), **change))


def test_discretisations_leave_torch_out():
    code = "import sys, ups_engine.discretisation; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
