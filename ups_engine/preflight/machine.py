"""Whether the machine has room for a run, and who else uses it."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ups_engine.errors import UpsError
from ups_engine.latents.residency import choose, gpu_free
from ups_engine.latents.target import Wanted
from ups_engine.preflight.verdict import Check
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.lease import owner_of
from ups_engine.runs.state import RunState, summarise
from ups_engine.telemetry.gpu import GpuDevice
from ups_engine.telemetry.memory import MemoryBudget
from ups_engine.telemetry.units import human_bytes

_LEAST_RAM = 1 << 30  # what the program itself takes, with some to work in
_LEAST_GPU = 1 << 30  # a CUDA context and small networks
_BUSY = 50.0  # percent of the last second


def check_memory(
    required: int,
    memory: MemoryBudget,
    device: torch.device,
    gpus: Sequence[GpuDevice],
    forced: Wanted,
    working: int = 0,
) -> Check:
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
        return Check(
            "memory",
            "warning",
            f"only {human_bytes(memory.available_bytes)} of memory are free under {memory.limit_source}, and a run"
            f" takes about {human_bytes(_LEAST_RAM)}: end something else first",
        )
    found = choose(required, memory, gpu_free(device, gpus), forced, working)
    if not required:
        free = f"{human_bytes(memory.available_bytes)} of memory are free under {memory.limit_source}"
        return Check("memory", "good", f"{free}, and there are no latents to hold")
    place = {"gpu": "on the GPU", "ram": "in RAM", "disk": "on disk"}[found.choice]
    sentence = f"latents will live {place}: {found.reason}"
    # Reading from disk is slow, and a place that was forced may turn out too small.
    doubtful = found.choice == "disk" if forced == "auto" else "although" in found.reason
    return Check("memory", "warning" if doubtful else "good", sentence)


def check_gpu(device: torch.device, gpus: Sequence[GpuDevice], asked: str) -> Check:
    """Whether the device that trains is free.

    Args:
        device: that trains.
        gpus: what NVML knows.
        asked: the setting `runtime.device`.
    """
    if device.type != "cuda":
        if asked != "auto" and gpus:
            return Check(
                "gpu", "warning", f"runtime.device = {asked} leaves the {gpus[0].name} unused: training runs on the CPU"
            )
        why = "no GPU was found" if asked == "auto" else f"runtime.device = {asked}"
        threads = torch.get_num_threads()
        return Check(
            "gpu", "good", f"training runs on the CPU with {threads} thread{'' if threads == 1 else 's'}, as {why}"
        )
    number = device.index or 0
    if number >= len(gpus):
        return Check(
            "gpu", "good", f"training runs on {torch.cuda.get_device_name(device)}, of which NVML says nothing"
        )
    gpu = gpus[number]
    free = f"{human_bytes(gpu.free_bytes)} of {human_bytes(gpu.total_bytes)} are free on GPU {gpu.index}, {gpu.name}"
    if gpu.free_bytes < _LEAST_GPU:
        return Check("gpu", "bad", f"only {free}: wait for whoever uses it, or choose another with runtime.device")
    taken = gpu.total_bytes - gpu.free_bytes
    if gpu.utilisation is not None and gpu.utilisation >= _BUSY:
        return Check("gpu", "warning", f"{free}, but it is {gpu.utilisation:.0f} % busy with somebody else's work")
    if taken > gpu.total_bytes // 10:
        return Check("gpu", "warning", f"{free}; somebody else holds {human_bytes(taken)}")
    return Check("gpu", "good", free)


def check_others(root: Path, device: torch.device, gpus: Sequence[GpuDevice], but: RunDirectory | None) -> Check:
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
    live = [state for run in RunDirectory.list_runs(root) if not _same(run, but) and (state := _live(run))]
    shared = [state for state in live if _shares(state, index)]
    if not shared:
        elsewhere = f", {len(live)} on other devices" if live else ""
        return Check("others", "good", f"no other run in {root} uses the same device{elsewhere}")
    names = ", ".join(state.run for state in shared)
    what = "CPU" if index is None else f"GPU {index}"
    verb = "is" if len(shared) == 1 else "are"
    hold = f"`ups runs pause {shared[0].run}` holds it" + ("" if index is None else ", `park` frees its memory")
    slow = "all will be slower" if len(shared) > 1 else "both will be slower"
    return Check("others", "warning", f"{names} {verb} {shared[0].state} on the same {what}, so {slow}; {hold}")


def _same(run: RunDirectory, other: RunDirectory | None) -> bool:
    return other is not None and run.path.resolve() == other.path.resolve()


def _live(run: RunDirectory) -> RunState | None:
    """The state of a run that a live process on this machine works on."""
    try:
        owner = owner_of(run)
        if owner is None or not owner.alive or not owner.on_this_kernel():
            return None
        return summarise(run)
    except UpsError:  # a damaged run disturbs nobody
        return None


def _shares(state: RunState, index: int | None) -> bool:
    """Whether a live run computes on a GPU, or on the CPU for no index, as far as it has said so yet."""
    said = state.last_heartbeat.data.get("gpu", []) if state.last_heartbeat else []
    used = {gpu["index"] for gpu in said if gpu.get("run_bytes", 1)}
    return not used if index is None else index in used
