"""Where latents live while training: chosen by size against what is free, or forced, and always explained."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ups_engine.errors import SettingsError
from ups_engine.latents.target import Choice, Wanted
from ups_engine.telemetry.gpu import GpuDevice
from ups_engine.telemetry.memory import MemoryBudget
from ups_engine.telemetry.units import human_bytes

_RAM_KEPT = 512 << 20
_GPU_KEPT = 2 << 30
_KEPT_SHARE = 10  # at least a tenth of a memory is kept for everything else
_MAPPED_LEAST = 128 << 20  # resident pages of mapped latents that are worth their faults


@dataclass(frozen=True)
class Residency:
    """Where latents live, and the sentence that says why, without final stop."""

    choice: Choice
    reason: str


def ram_kept(memory: MemoryBudget) -> int:
    """Bytes of memory that latents leave alone: a tenth of the limit, at least 512 MiB."""
    return max(_RAM_KEPT, memory.total_bytes // _KEPT_SHARE)


def gpu_kept(free: int, working: int = 0) -> int:
    """Bytes of GPU memory kept for networks, optimiser and activations.

    What a probe step wants (see `stages.memory`), but never less than 2 GiB and a tenth of what is free.
    """
    return max(_GPU_KEPT, free // _KEPT_SHARE, working)


def ram_sufficient(required: int, memory: MemoryBudget) -> bool:
    """Whether `required` bytes of latents may be taken from this memory."""
    return required <= memory.available_bytes - ram_kept(memory)


def gpu_sufficient(required: int, free: int, working: int = 0) -> bool:
    """Whether `required` bytes of latents may be taken from a GPU with `free` bytes free, `working` for the step."""
    return required <= free - gpu_kept(free, working)


def mapped_limit(memory: MemoryBudget) -> int:
    """Bytes of mapped latents that may be resident at a time: what is free, less what is kept for everything else.

    Such pages are clean pages of the page cache. The kernel takes them back when memory is short, so that they never
    drive a control group over its limit; but they count as the process's own wherever resident memory is looked at,
    which some batch systems end jobs by. To drop them and find them again costs many times the reading of them,
    so they stay while they fit.
    """
    return max(memory.available_bytes - ram_kept(memory), _MAPPED_LEAST)


def gpu_free(device: torch.device, gpus: Sequence[GpuDevice]) -> int | None:
    """Bytes free on the GPU that trains; None where the CPU does.

    Args:
        device: where training runs.
        gpus: what NVML knows; without it torch is asked, which starts CUDA.
    """
    if device.type != "cuda":
        return None
    number = device.index or 0
    return gpus[number].free_bytes if number < len(gpus) else int(torch.cuda.mem_get_info(device)[0])


def choose(
    required: int, memory: MemoryBudget, gpu_free: int | None, forced: Wanted = "auto", working: int = 0
) -> Residency:
    """Choose the fastest place that holds the latents.

    Args:
        required: bytes of all latents in float32, the format of training.
        memory: what is free on the host.
        gpu_free: bytes free on the GPU that trains; None where the CPU trains.
        forced: the setting `latent.residency`; `on_the_fly` says when latents are encoded, not where they live.
        working: bytes of GPU memory that a step wants beside the latents.

    Raises:
        SettingsError: `gpu` is forced and no GPU trains.
    """
    need = f"{human_bytes(required)} of latents"
    ram = (
        f"the {human_bytes(memory.available_bytes)} of memory free under {memory.limit_source},"
        f" of which {human_bytes(ram_kept(memory))} are kept back"
    )
    in_ram, on_gpu, gpu = ram_sufficient(required, memory), False, "training runs on the CPU"
    if gpu_free is not None:
        on_gpu = gpu_sufficient(required, gpu_free, working)
        kept = f"of which {human_bytes(gpu_kept(gpu_free, working))} are kept for the networks"
        kept += f" (a probe step wants {human_bytes(working)} with weights and optimiser)" if working else ""
        gpu = f"{need} {'fit' if on_gpu else 'do not fit'} into the {human_bytes(gpu_free)} free on the GPU, {kept}"
    elif forced == "gpu":
        raise SettingsError(
            "latent.residency = gpu, but training runs on the CPU",
            "use --set latent.residency=auto, or --set runtime.device=cuda where there is a GPU",
        )
    if forced in ("gpu", "ram", "disk"):
        doubts = {"gpu": "" if on_gpu else gpu, "ram": "" if in_ram else f"{need} do not fit into {ram}"}
        although = f", although {doubts[forced]}" if doubts.get(forced) else ""
        return Residency(forced, f"latent.residency = {forced} asks for it{although}")
    later = "; latent.residency = on_the_fly completes the caches while training" if forced == "on_the_fly" else ""
    if on_gpu:
        return Residency("gpu", f"{gpu}{later}")
    if in_ram:
        return Residency("ram", f"{need} fit into {ram}; {gpu}{later}")
    return Residency("disk", f"{need} do not fit into {ram}, so they are mapped from disk; {gpu}{later}")
