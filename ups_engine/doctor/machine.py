"""Devices and memory, and what limits them."""

import math
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from ups_engine.latents.residency import gpu_kept, ram_kept
from ups_engine.preflight.verdict import Check
from ups_engine.telemetry.cgroups import CGROUP_FILE, CGROUP_ROOT, control_groups
from ups_engine.telemetry.gpu import GpuDevice
from ups_engine.telemetry.memory import MemoryBudget, available_memory
from ups_engine.telemetry.units import human_bytes

_LEAST_RAM = 1 << 30
_HOT = 85.0  # degrees Celsius


def check_gpus(gpus: Sequence[GpuDevice]) -> Check:
    """The GPUs that CUDA would show to this process."""
    if not gpus:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = f", as CUDA_VISIBLE_DEVICES = {hidden!r}" if hidden is not None else ""
        return Check("gpu", "good", f"no NVIDIA GPU is visible{why}: training runs on the CPU, which suits small tasks")
    parts = []
    for gpu in gpus:
        free, total = human_bytes(gpu.free_bytes), human_bytes(gpu.total_bytes)
        room = human_bytes(max(gpu.free_bytes - gpu_kept(gpu.free_bytes), 0))
        busy = "" if gpu.utilisation is None else f", {gpu.utilisation:.0f} % busy"
        heat = "" if gpu.temperature is None else f", {gpu.temperature:.0f} °C"
        parts.append(f"GPU {gpu.index} {gpu.name}: {free} of {total} free, room for {room} of latents{busy}{heat}")
    hot = [gpu.index for gpu in gpus if gpu.temperature is not None and gpu.temperature >= _HOT]
    if hot:
        return Check("gpu", "warning", f"{'; '.join(parts)}; GPU {hot[0]} is hot and slows itself down: see to its air")
    return Check("gpu", "good", "; ".join(parts))


def check_cpu(cgroup_file: Path = CGROUP_FILE, cgroup_root: Path = CGROUP_ROOT) -> Check:
    """Cores, and how many of them this process may use."""
    logical = psutil.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    sentence = f"{logical} logical cores, {usable} of them for this process"
    quota = min(_cpu_quotas(cgroup_file, cgroup_root), default=math.inf)
    if quota < usable - 0.5:
        threads = max(1, round(quota))
        return Check(
            "cpu",
            "warning",
            f"{sentence}, but its control group allows the time of {quota:.3g}: use --set runtime.threads={threads},"
            " or threads wait for each other",
        )
    return Check("cpu", "good", sentence)


def check_ram(budgets: Sequence[MemoryBudget]) -> Check:
    """What is free under the tightest limit."""
    tightest = available_memory(budgets)
    room = max(tightest.available_bytes - ram_kept(tightest), 0)
    sentence = (
        f"{human_bytes(tightest.available_bytes)} of {human_bytes(tightest.total_bytes)} free under"
        f" {tightest.limit_source}, room for {human_bytes(room)} of latents"
    )
    if tightest.available_bytes < _LEAST_RAM:
        return Check("ram", "warning", f"{sentence}: a run takes about 1 GiB, so end something else or raise the limit")
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY:
        return Check(
            "ram",
            "warning",
            f"{sentence}; ulimit -v allows {human_bytes(space)} of addresses, which mapped files and CUDA exceed"
            " easily: lift it with `ulimit -v unlimited`",
        )
    return Check("ram", "good", sentence)


def check_cgroups(budgets: Sequence[MemoryBudget]) -> Check:
    """The control groups that limit memory."""
    groups = [budget for budget in budgets if budget.limit_source.startswith("cgroup ")]
    if not groups:
        return Check("cgroups", "good", "no control group limits the memory of this process")
    parts = [
        f"{budget.limit_source} allows {human_bytes(budget.total_bytes)}, {human_bytes(budget.available_bytes)} left"
        for budget in groups
    ]
    return Check("cgroups", "good", "; ".join(parts))


def check_slurm(budgets: Sequence[MemoryBudget], environment: Mapping[str, str] | None = None) -> Check:
    """The batch job, where there is one.

    Args:
        budgets: of memory.
        environment: searched for SLURM's variables; None means the process's own.
    """
    env = os.environ if environment is None else environment
    job = env.get("SLURM_JOB_ID")
    if job is None:
        return Check("slurm", "good", "this is no SLURM job")
    asked = [budget for budget in budgets if budget.limit_source.startswith("SLURM_")]
    memory = f", {human_bytes(asked[0].total_bytes)} of memory by {asked[0].limit_source}" if asked else ""
    cpus = env.get("SLURM_CPUS_ON_NODE")
    cores = f", {cpus} cores" if cpus else ""
    return Check(
        "slurm",
        "good",
        f"job {job} on {env.get('SLURMD_NODENAME', os.uname().nodename)}{cores}{memory}; `ups train --headless` saves"
        " and leaves at SIGTERM, so `sbatch --signal=TERM@120` keeps what the time limit would take",
    )


def _cpu_quotas(cgroup_file: Path, root: Path) -> Iterator[float]:
    """Cores' worth of time that each control group allows, where it sets a limit."""
    for group in control_groups("cpu", cgroup_file, root):
        if group.version == 2:
            pair = group.numbers("cpu.max")
        else:
            pair = [*group.numbers("cpu.cfs_quota_us"), *group.numbers("cpu.cfs_period_us")]
        if len(pair) == 2 and pair[0] > 0 and pair[1] > 0:
            yield pair[0] / pair[1]
