"""Versions, and whether torch and the driver get on."""

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import torch

from ups_engine.config.schema import RuntimeSettings
from ups_engine.preflight.verdict import Check
from ups_engine.telemetry.gpu import GpuDevice, driver_version
from ups_engine.training.machine import pick_device

_OLDEST = (3, 11)
_NEEDED = ("torch", "numpy", "zarr", "h5py", "safetensors", "textual", "typer", "pydantic", "dynaconf")


def check_python() -> Check:
    """The interpreter and the system it runs on."""
    sentence = f"Python {platform.python_version()} at {sys.executable}, on {platform.system()} {platform.release()}"
    if sys.version_info < _OLDEST:
        return Check("python", "bad", f"{sentence}: UPS needs {_OLDEST[0]}.{_OLDEST[1]} or newer")
    return Check("python", "good", sentence)


def check_packages() -> Check:
    """UPS itself and what it is built on."""
    found, missing = [], []
    for name in ("universal-physics-stack", *_NEEDED):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", "bad", f"{', '.join(missing)} cannot be found: install UPS again with pip")
    return Check("packages", "good", ", ".join(found))


def check_cuda(gpus: Sequence[GpuDevice], runtime: RuntimeSettings | None) -> Check:
    """Whether torch can compute on the GPUs that are there.

    Args:
        gpus: what NVML knows.
        runtime: current settings.

    Raises:
        SettingsError: they ask for a device that torch does not see.
    """
    built = torch.version.cuda
    driver = driver_version()
    made = f"torch {torch.__version__} for {f'CUDA {built}' if built else 'the CPU'}"
    versions = f"{made}, {f'driver {driver}' if driver else 'no NVIDIA driver'}"
    if gpus and not torch.cuda.is_available():
        why = "it was built without CUDA" if built is None else f"the driver is too old for CUDA {built}, or withheld"
        return Check(
            "cuda",
            "warning",
            f"{versions}: torch cannot use the {gpus[0].name}, as {why}; training runs on the CPU until"
            " torch and driver fit (pytorch.org/get-started names the pairs)",
        )
    device = "" if runtime is None else f"; training would run on {pick_device(runtime)}"
    return Check("cuda", "good", f"{versions}{device}")
