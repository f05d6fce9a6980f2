"""A run trained on data in other units comes to the same errors beside the fields' own variation."""

import json

import h5py
import numpy as np
import pytest

from ups_engine import load_settings, run_pipeline, start_run
from ups_engine.runs.directory import RunDirectory


def waves(trajectories=10, frames=6, points=32):
    """Two fields (N, T, X) of waves that travel, float64."""
    rng = np.random.default_rng(0)
    x, t = np.arange(points) / points, np.arange(frames)[:, None] * 0.1
    phase, size = rng.uniform(0, 1, (2, trajectories, 1, 1)), rng.uniform(0.5, 1, (2, trajectories, 1, 1))
    return [size[i] * np.sin(2 * np.pi * (x - speed * t + phase[i])) for i, speed in enumerate((0.4, -0.3))]


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trains autoencoder and operator for a few epochs on a density and a pressure; gives the run."""

    monkeypatch.chdir(tmp_path)

    def run(name: str, density: np.ndarray, pressure: np.ndarray) -> RunDirectory:
        path = tmp_path / f"1D_CFD_{name}_periodic.h5"
        points, frames = density.shape[2], density.shape[1]
        with h5py.File(path, "w") as file:
            file["density"], file["pressure"], file["Vx"] = density, pressure, density - density
            file["density"].attrs["units"], file["pressure"].attrs["units"] = "kg/m3", "Pa"
            file["x-coordinate"], file["t-coordinate"] = np.arange(points) / points, np.arange(frames + 1) * 0.1
        skipped = [f"stages.{stage}.epochs=0" for stage in ("diff_residual", "consistency_distill", "steady_prior")]
        resolved = load_settings(
            preset="smoke",
            overrides=[
                f"data.path={path}",
                f"runs.root={tmp_path}",
                f"runs.name={name}",
                'data.fields=["density","pressure"]',
                "data.spatial_stride=1",
                "data.time_stride=1",
                "stages.operator.epochs=4",
                *skipped,
            ],
        )
        directory = start_run(resolved.settings, origins=resolved.origins, argv=["test"])
        run_pipeline(directory)
        return directory

    return run


def rollout(run):
    return json.loads((run.reports / "evaluation.json").read_text())["variants"]["operator"]["rollout"]


def test_the_unit_of_a_field_changes_no_figure_beside_its_variation(train):
    density, pressure = waves()
    expected = rollout(train("unit", density, pressure))
    powers = rollout(train("powers", density * 2.0**-60, pressure * 2.0**90))
    assert [powers[name] for name in ("nrmse", "rmse_over_std", "nrmse_by_frame")] == [
        expected[name] for name in ("nrmse", "rmse_over_std", "nrmse_by_frame")
    ]
    for name, factor in (("density", 2.0**-60), ("pressure", 2.0**90)):
        assert powers["fields"][name]["rmse"] == expected["fields"][name]["rmse"] * factor
    si = rollout(train("si", 1e-30 * density, 1e5 * pressure + 1e6 * 1e5 * pressure.std()))
    for name in ("density", "pressure"):
        assert si["fields"][name]["rmse_over_std"] == pytest.approx(expected["fields"][name]["rmse_over_std"], rel=0.05)
    assert (si["fields"]["density"]["unit"], si["fields"]["pressure"]["unit"]) == ("kg/m3", "Pa")
    assert si["fields"]["pressure"]["nrmse"] < 1e-5 < si["fields"]["pressure"]["rmse_over_std"]
