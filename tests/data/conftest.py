"""Tiny files in the layouts that UPS reads, and settings that point at them."""

import h5py
import numpy as np
import pytest

from ups_engine.config.layers import load_settings


@pytest.fixture
def write_pdebench():
    def write(path, tensor, *, dt=0.05, t_end=None, attributes=None, **options):
        """`tensor` (N, T, X) as PDEBench stores it: cell centres of [0, 1], time one longer than the frames."""
        tensor = np.asarray(tensor, np.float32)
        with h5py.File(path, "w") as file:
            file.create_dataset("tensor", data=tensor, **options)
            file["x-coordinate"] = ((np.arange(tensor.shape[2]) + 0.5) / tensor.shape[2]).astype(np.float32)
            file["t-coordinate"] = (np.arange(tensor.shape[1] + 1) * dt).astype(np.float32)
            file.attrs.update(attributes or {})
        return path

    return write


@pytest.fixture
def write_converted():
    def write(path, data, **attributes):
        with h5py.File(path, "w") as file:
            file["data"] = np.asarray(data, np.float32)
            file.attrs.update(attributes)
        return path

    return write


@pytest.fixture
def random_fields():
    return lambda *shape, seed=0: np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def settings_for(tmp_path):
    base = (f"data.root={tmp_path / 'root'}", "data.time_stride=1", "data.spatial_stride=1")

    def settings(*overrides):
        return load_settings(overrides=[*base, *overrides], folder=tmp_path, env={}, home=tmp_path).settings

    return settings
