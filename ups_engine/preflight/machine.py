"""Devices and memory: what limits them, whether they have room for a run, and who else uses them."""

import math
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import torch

from ups_engine.errors import UpsError
from ups_engine.latents.residency import choose, gpu_free, gpu_kept, ram_kept
from ups_engine.latents.target import Wanted
from ups_engine.preflight.verdict import Finding
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.lease import owner_of
from ups_engine.runs.state import RunState, summarise
from ups_engine.telemetry.cgroups import control_groups
from ups_engine.telemetry.gpu import GpuDevice
from ups_engine.telemetry.memory import MemoryBudget, available_memory
from ups_engine.telemetry.units import human_bytes

_LEAST_RAM = 1 << 30  # what the program itself takes, with some to work in
_LEAST_GPU = 1 << 30  # a CUDA context and small networks
_BUSY = 50.0  # percent of the last second
_HOT = 85.0  # degrees Celsius


def check_gpus(gpus: Sequence[GpuDevice]) -> Finding:
    """The GPUs that CUDA would show to this process."""
    if not gpus:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = f", as CUDA_VISIBLE_DEVICES = {hidden!r}" if hidden is not None else ""
        return "good", f"no NVIDIA GPU is visible{why}: training runs on the CPU, which suits small tasks"
    parts = []
    for gpu in gpus:
        free, total = human_bytes(gpu.free_bytes), human_bytes(gpu.total_bytes)
        room = human_bytes(max(gpu.free_bytes - gpu_kept(gpu.free_bytes), 0))
        busy = "" if gpu.utilisation is None else f", {gpu.utilisation:.0f} % busy"
        heat = "" if gpu.temperature is None else f", {gpu.temperature:.0f} °C"
        parts.append(f"GPU {gpu.index} {gpu.name}: {free} of {total} free, room for {room} of latents{busy}{heat}")
    hot = [gpu.index for gpu in gpus if gpu.temperature is not None and gpu.temperature >= _HOT]
    if hot:
        return "warning", f"{'; '.join(parts)}; GPU {hot[0]} is hot and slows itself down: see to its air"
    return "good", "; ".join(parts)


def check_cpu() -> Finding:
    """Cores, and how many of them this process may use."""
    logical = psutil.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    sentence = f"{logical} logical cores, {usable} of them for this process"
    quota = min(_cpu_quotas(), default=math.inf)
    if quota < usable - 0.5:
        threads = max(1, round(quota))
        return (
            "warning",
            f"{sentence}, but its control group allows the time of {quota:.3g}: use --set runtime.threads={threads},"
            " or threads wait for each other",
        )
    return "good", sentence


def check_ram(budgets: Sequence[MemoryBudget]) -> Finding:
    """What is free under the tightest limit."""
    tightest = available_memory(budgets)
    room = max(tightest.available_bytes - ram_kept(tightest), 0)
    sentence = (
        f"{human_bytes(tightest.available_bytes)} of {human_bytes(tightest.total_bytes)} free under"
        f" {tightest.limit_source}, room for {human_bytes(room)} of latents"
    )
    if tightest.available_bytes < _LEAST_RAM:
        return "warning", f"{sentence}: a run takes about 1 GiB, so end something else or raise the limit"
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY:
        return (
            "warning",
            f"{sentence}; ulimit -v allows {human_bytes(space)} of addresses, which mapped files and CUDA exceed"
            " easily: lift it with `ulimit -v unlimited`",
        )
    return "good", sentence


def check_cgroups(budgets: Sequence[MemoryBudget]) -> Finding:
    """The control groups that limit memory."""
    groups = [budget for budget in budgets if budget.limit_source.startswith("cgroup ")]
    if not groups:
        return "good", "no control group limits the memory of this process"
    parts = [
        f"{budget.limit_source} allows {human_bytes(budget.total_bytes)}, {human_bytes(budget.available_bytes)} left"
        for budget in groups
    ]
    return "good", "; ".join(parts)


def check_slurm(budgets: Sequence[MemoryBudget], environment: Mapping[str, str] | None = None) -> Finding:
    """The batch job, where there is one.

    Args:
        budgets: of memory.
        environment: searched for SLURM's variables; None means the process's own.
    """
    env = os.environ if environment is None else environment
    job = env.get("SLURM_JOB_ID")
    if job is None:
        return "good", "this is no SLURM job"
    asked = [budget for budget in budgets if budget.limit_source.startswith("SLURM_")]
    memory = f", {human_bytes(asked[0].total_bytes)} of memory by {asked[0].limit_source}" if asked else ""
    cpus = env.get("SLURM_CPUS_ON_NODE")
    cores = f", {cpus} cores" if cpus else ""
    return (
        "good",
        f"job {job} on {env.get('SLURMD_NODENAME', os.uname().nodename)}{cores}{memory}; `ups train --headless` saves"
        " and leaves at SIGTERM, so `sbatch --signal=TERM@120` keeps what the time limit would take",
    )


def check_memory(
    required: int,
    memory: MemoryBudget,
    device: torch.device,
    gpus: Sequence[GpuDevice],
    forced: Wanted,
    working: int = 0,
) -> Finding:
    """Where the latents would live, and whether there is room to work at all.

    Args:
        required: bytes of all latents in float32.
        memory: free on the host.
        device: that trains.
        gpus: what NVML knows.
        forced: the setting `latent.residency`.
        working: bytes of GPU memory that a step wants beside the latents.

    Raises:
        SettingsError: residency `gpu` is forced and no GPU trains.
    """
    if memory.available_bytes < _LEAST_RAM:
        return (
            "warning",
            f"only {human_bytes(memory.available_bytes)} of memory are free under {memory.limit_source}, and a run"
            f" takes about {human_bytes(_LEAST_RAM)}: end something else first",
        )
    found = choose(required, memory, gpu_free(device, gpus), forced, working)
    if not required:
        free = f"{human_bytes(memory.available_bytes)} of memory are free under {memory.limit_source}"
        return "good", f"{free}, and there are no latents to hold"
    place = {"gpu": "on the GPU", "ram": "in RAM", "disk": "on disk"}[found.choice]
    sentence = f"latents will live {place}: {found.reason}"
    # Reading from disk is slow, and a place that was forced may turn out too small.
    doubtful = found.choice == "disk" if forced == "auto" else "although" in found.reason
    return "warning" if doubtful else "good", sentence


def check_gpu(device: torch.device, gpus: Sequence[GpuDevice], asked: str) -> Finding:
    """Whether the device that trains is free.

    Args:
        device: that trains.
        gpus: what NVML knows.
        asked: the setting `runtime.device`.
    """
    if device.type != "cuda":
        if asked != "auto" and gpus:
            return "warning", f"runtime.device = {asked} leaves the {gpus[0].name} unused: training runs on the CPU"
        why = "no GPU was found" if asked == "auto" else f"runtime.device = {asked}"
        threads = torch.get_num_threads()
        return "good", f"training runs on the CPU with {threads} thread{'' if threads == 1 else 's'}, as {why}"
    number = device.index or 0
    if number >= len(gpus):
        return "good", f"training runs on {torch.cuda.get_device_name(device)}, of which NVML says nothing"
    gpu = gpus[number]
    free = f"{human_bytes(gpu.free_bytes)} of {human_bytes(gpu.total_bytes)} are free on GPU {gpu.index}, {gpu.name}"
    if gpu.free_bytes < _LEAST_GPU:
        return "bad", f"only {free}: wait for whoever uses it, or choose another with runtime.device"
    taken = gpu.total_bytes - gpu.free_bytes
    if gpu.utilisation is not None and gpu.utilisation >= _BUSY:
        return "warning", f"{free}, but it is {gpu.utilisation:.0f} % busy with somebody else's work"
    if taken > gpu.total_bytes // 10:
        return "warning", f"{free}; somebody else holds {human_bytes(taken)}"
    return "good", free


def check_others(root: Path, device: torch.device, gpus: Sequence[GpuDevice], but: RunDirectory | None) -> Finding:
    """Whether another live run works on the same device.

    Args:
        root: the folder of runs that is looked through.
        device: that trains.
        gpus: what NVML knows.
        but: a run that does not count.
    """
    index = None
    if device.type == "cuda":
        number = device.index or 0
        index = gpus[number].index if number < len(gpus) else number
    own = None if but is None else but.path.resolve()
    live = [state for run in RunDirectory.list_runs(root) if run.path.resolve() != own and (state := _live(run))]
    shared = [state for state in live if _shares(state, index)]
    if not shared:
        elsewhere = f", {len(live)} on other devices" if live else ""
        return "good", f"no other run in {root} uses the same device{elsewhere}"
    names = ", ".join(state.run for state in shared)
    what = "CPU" if index is None else f"GPU {index}"
    verb = "is" if len(shared) == 1 else "are"
    hold = f"`ups runs pause {shared[0].run}` holds it" + ("" if index is None else ", `park` frees its memory")
    slow = "all will be slower" if len(shared) > 1 else "both will be slower"
    return "warning", f"{names} {verb} {shared[0].state} on the same {what}, so {slow}; {hold}"


def _cpu_quotas() -> Iterator[float]:
    """Cores' worth of time that each control group allows, where it sets a limit."""
    for group in control_groups("cpu"):
        files = ("cpu.max",) if group.version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        pair = [number for file in files for number in group.numbers(file)]
        if len(pair) == 2 and pair[0] > 0 and pair[1] > 0:
            yield pair[0] / pair[1]


def _live(run: RunDirectory) -> RunState | None:
    """The state of a run that a live process on this machine works on."""
    try:
        owner = owner_of(run)
        return summarise(run) if owner is not None and owner.alive and owner.on_this_kernel() else None
    except UpsError:  # a damaged run disturbs nobody
        return None


def _shares(state: RunState, index: int | None) -> bool:
    """Whether a live run computes on a GPU, or on the CPU for no index, as far as it has said so yet."""
    said = state.last_heartbeat.data.get("gpu", []) if state.last_heartbeat else []
    used = {gpu["index"] for gpu in said if gpu.get("run_bytes", 1)}
    return not used if index is None else index in used
