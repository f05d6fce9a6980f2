"""Figures of the GPUs through NVML, which needs no CUDA context and takes no GPU memory."""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ups_engine.telemetry.process import family


@dataclass(frozen=True)
class GpuDevice:
    """A GPU, or a slice of one under MIG.

    Attributes:
        index: number of the GPU as `nvidia-smi` counts; a slice has its GPU's.
        name: the product's name.
        uuid: as in CUDA_VISIBLE_DEVICES.
        free_bytes: memory that nobody has taken.
        total_bytes: memory.
        utilisation: share of the last second in which a kernel ran, percent; None where NVML does not say (MIG).
        temperature: degrees Celsius.
        power: watts.
        run_bytes: memory taken by this process and its children, CUDA contexts included; None where nobody says.
    """

    index: int
    name: str
    uuid: str
    free_bytes: int
    total_bytes: int
    utilisation: float | None
    temperature: float | None
    power: float | None
    run_bytes: int | None = None


def gpu_devices(environment: Mapping[str, str] | None = None) -> list[GpuDevice]:
    """The GPUs that CUDA would see, in the order of CUDA_VISIBLE_DEVICES; none without NVML or a driver.

    Args:
        environment: searched for CUDA_VISIBLE_DEVICES; None means the process's own.
    """
    visible = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    with _nvml() as nvml:
        if nvml is None:
            return []
        pids = family()
        devices = [device for index in range(nvml.nvmlDeviceGetCount()) for device in _slices(nvml, index, pids)]
    chosen = devices if visible is None else select_visible(devices, visible)
    return [device if device.run_bytes else replace(device, run_bytes=_reserved(device)) for device in chosen]


def driver_version() -> str | None:
    """The NVIDIA driver's version; None without one."""
    with _nvml() as nvml:
        return None if nvml is None else _ask(nvml, nvml.nvmlSystemGetDriverVersion)


def select_visible(devices: list[GpuDevice], visible: str) -> list[GpuDevice]:
    """The devices that CUDA_VISIBLE_DEVICES names by number or by the start of a UUID; the first unknown ends it."""
    chosen: list[GpuDevice] = []
    for entry in map(str.strip, visible.split(",")):
        if entry.isdecimal():
            named = [device for device in devices if device.index == int(entry)][:1]
        else:
            named = [device for device in devices if entry and device.uuid.startswith(entry)]
        if len(named) != 1 or named[0] in chosen:
            break
        chosen += named
    return chosen


@contextmanager
def _nvml() -> Iterator[Any]:
    """The initialised library, or None where it, the driver or a device is missing or fails."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # the binding raises its own errors, OSError or AttributeError by driver and version
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _slices(nvml: Any, index: int, pids: Collection[int]) -> Iterator[GpuDevice]:
    """The GPU of a number, or its MIG slices: under MIG the GPU's own memory call fails or counts all slices."""
    try:
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError:  # lost, or not ours to see
        return
    mode = _ask(nvml, nvml.nvmlDeviceGetMigMode, gpu)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        handles = [gpu]
    else:
        numbers = range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu))
        found = (_ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, n) for n in numbers)
        handles = [handle for handle in found if handle is not None]
    temperature = _ask(nvml, nvml.nvmlDeviceGetTemperature, gpu, nvml.NVML_TEMPERATURE_GPU)
    milliwatts = _ask(nvml, nvml.nvmlDeviceGetPowerUsage, gpu)
    for handle in handles:
        memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
        if memory is None:
            continue
        use = _ask(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
        processes = _ask(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        own = None if processes is None else [process for process in processes if process.pid in pids]
        yield GpuDevice(
            index=index,
            name=_ask(nvml, nvml.nvmlDeviceGetName, handle) or "GPU",
            uuid=_ask(nvml, nvml.nvmlDeviceGetUUID, handle) or "",
            free_bytes=int(memory.free),
            total_bytes=int(memory.total),
            utilisation=None if use is None else float(use.gpu),
            temperature=None if temperature is None else float(temperature),
            power=None if milliwatts is None else milliwatts / 1000,
            run_bytes=None if own is None else sum(process.usedGpuMemory or 0 for process in own),
        )


def _reserved(device: GpuDevice) -> int | None:
    """What to say where NVML finds none of this process's pids on a device: in a container it may know others.

    Where this process computes with torch, its allocator knows what it holds, though not what the CUDA context takes.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return device.run_bytes
    for number in range(torch.cuda.device_count()):
        if str(torch.cuda.get_device_properties(number).uuid) == device.uuid.partition("-")[2]:
            return int(torch.cuda.memory_reserved(number))
    return device.run_bytes


def _ask(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """An answer of NVML's; None where this device has none."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None
