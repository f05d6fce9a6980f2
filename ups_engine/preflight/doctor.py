"""What is known of this machine, as far as training depends on it: findings, each a sentence with what to do."""

import platform
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ups_engine.config.schema import RuntimeSettings, Settings
from ups_engine.latents.location import cache_root
from ups_engine.preflight.machine import check_cgroups, check_cpu, check_gpus, check_ram, check_slurm
from ups_engine.preflight.places import check_place
from ups_engine.preflight.surroundings import check_logout, check_wandb
from ups_engine.preflight.verdict import Check, Finding, attempt
from ups_engine.telemetry.gpu import GpuDevice, driver_version, gpu_devices
from ups_engine.telemetry.memory import memory_budgets
from ups_engine.training.machine import pick_device

_NEEDED = ("torch", "numpy", "zarr", "h5py", "safetensors", "textual", "typer", "pydantic", "dynaconf")


def examine_machine(settings: Settings | None) -> list[Check]:
    """Look at software, devices, memory, places and surroundings. Probes of file locks leave nothing behind.

    Args:
        settings: current ones; None where they are broken, and then what depends on them is left out.

    Returns:
        All findings, in the order in which a user would mend them.
    """
    gpus, budgets = gpu_devices(), memory_budgets()
    looks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "packages": _packages,
        "cuda": lambda: _cuda(gpus, None if settings is None else settings.runtime),
        "gpu": lambda: check_gpus(gpus),
        "cpu": check_cpu,
        "ram": lambda: check_ram(budgets),
        "cgroups": lambda: check_cgroups(budgets),
        "slurm": lambda: check_slurm(budgets),
    }
    if settings is not None:
        looks["runs"] = partial(check_place, "runs", Path(settings.runs.root))
        looks["data"] = partial(check_place, "data", Path(settings.data.path or settings.data.root))
        looks["cache"] = partial(check_place, "cache", cache_root(settings))
    looks |= {"logout": check_logout, "wandb": check_wandb}
    return [attempt(name, look) for name, look in looks.items()]


def _python() -> Finding:
    """The interpreter and the system it runs on."""
    return (
        "good",
        f"Python {platform.python_version()} at {sys.executable}, on {platform.system()} {platform.release()}",
    )


def _packages() -> Finding:
    """UPS itself and what it is built on."""
    found, missing = [], []
    for name in ("universal-physics-stack", *_NEEDED):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return "bad", f"{', '.join(missing)} cannot be found: install UPS again with pip"
    return "good", ", ".join(found)


def _cuda(gpus: Sequence[GpuDevice], runtime: RuntimeSettings | None) -> Finding:
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
        return (
            "warning",
            f"{versions}: torch cannot use the {gpus[0].name}, as {why}; training runs on the CPU until"
            " torch and driver fit (pytorch.org/get-started names the pairs)",
        )
    device = "" if runtime is None else f"; training would run on {pick_device(runtime)}"
    return "good", f"{versions}{device}"
