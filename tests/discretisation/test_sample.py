"""validate_sample lets well-formed samples pass and names what is wrong with others."""

from dataclasses import replace

import numpy as np
import pytest

from ups_engine.discretisation.sample import Sample, validate_sample
from ups_engine.errors import DataError

GRID = Sample(
    kind="grid",
    coords=np.zeros((4, 1), np.float32),
    connect=None,
    fields={"u": np.ones((4, 2), np.float32)},
    params={"nu": 0.01},
    time=0.5,
    dt=0.1,
)
MESH = replace(GRID, kind="mesh", connect=np.array([[0, 1], [2, 3]]))


@pytest.mark.parametrize("sample", [GRID, MESH, replace(GRID, kind="particles"), replace(GRID, time=None, dt=None)])
def test_well_formed_samples_pass(sample):
    validate_sample(sample)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "cloud"}, "kind is 'cloud'"),
        ({"coords": np.zeros(4, np.float32)}, r"coords have shape \(4,\)"),
        ({"coords": np.zeros((0, 2), np.float32)}, "coords have shape"),
        ({"coords": np.full((4, 1), np.nan, np.float32)}, "coords holds 4 non-finite"),
        ({"fields": {}}, "no fields"),
        ({"fields": {"p": np.ones((3, 1), np.float32)}}, r"'p' has shape \(3, 1\); expected \(4, channels\)"),
        ({"fields": {"p": np.ones(4, np.float32)}}, r"'p' has shape \(4,\)"),
        ({"fields": {"p": np.array([[1], [np.inf], [1], [1]], np.float32)}}, "'p' holds 1 non-finite"),
        ({"params": {"nu": float("nan")}}, "'nu' is nan"),
        ({"time": float("inf")}, "time is inf"),
        ({"dt": 0.0}, "dt is 0"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    with pytest.raises(DataError, match=words):
        validate_sample(replace(GRID, **change))


@pytest.mark.parametrize(
    ("connect", "words"),
    [
        (None, "no connect"),
        (np.array([[0, 4]]), "points 0 to 4; there are 4"),
        (np.array([[-1, 2]]), "points -1 to 2"),
        (np.array([0, 1]), r"shape \(2,\)"),
        (np.array([[0.0, 1.0]]), "float64"),
    ],
)
def test_edges_must_refer_to_points(connect, words):
    with pytest.raises(DataError, match=words):
        validate_sample(replace(MESH, connect=connect))
