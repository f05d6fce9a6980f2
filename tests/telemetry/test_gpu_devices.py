"""GPU figures come through NVML where there is one, slices included, and are absent quietly elsewhere."""

import sys
from types import SimpleNamespace

import pytest

from ups_engine.telemetry.gpu import GpuDevice, gpu_devices, select_visible

GIB = 1 << 30


def device(index: int, uuid: str) -> GpuDevice:
    return GpuDevice(index, "GPU", uuid, GIB, 2 * GIB, None, None, None)


class RecordedNvml:
    """Answers of a library over one whole GPU and one cut into two MIG slices, as an A100 gives them."""

    NVML_DEVICE_MIG_ENABLE = 1
    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def nvmlInit(self):  # noqa: N802
        pass

    nvmlShutdown = nvmlInit  # noqa: N815

    def nvmlDeviceGetCount(self):  # noqa: N802
        return 3

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        if index == 2:
            raise self.NVMLError("GPU is lost")
        return f"GPU-{index}"

    def nvmlDeviceGetMigMode(self, handle):  # noqa: N802
        if handle == "GPU-0":
            raise self.NVMLError("Not Supported")
        return (1, 1)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle):  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, number):  # noqa: N802
        if number > 1:
            raise self.NVMLError("Not Found")
        return f"MIG-{number}"

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        if handle == "GPU-1":
            raise self.NVMLError("Insufficient Permissions")
        return SimpleNamespace(free=(30 if handle == "GPU-0" else 4) * GIB, total=40 * GIB, used=0)

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        if handle != "GPU-0":
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(gpu=37, memory=1)

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802
        return 41

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        return 91_500

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        if handle == "MIG-1":
            raise self.NVMLError("Insufficient Permissions")
        taken = {"GPU-0": [(11, 3), (12, 2), (99, 4), (13, None)], "MIG-0": [(11, 1)]}[handle]
        return [SimpleNamespace(pid=pid, usedGpuMemory=None if used is None else used * GIB) for pid, used in taken]

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return "NVIDIA A100" if handle == "GPU-0" else f"NVIDIA A100 {handle} 1g.5gb"

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return f"{handle}-uuid"


@pytest.fixture
def devices(monkeypatch):
    """Finds the devices of the recorded library for a run of some processes."""
    monkeypatch.setitem(sys.modules, "pynvml", RecordedNvml())

    def find(*pids):
        monkeypatch.setattr("ups_engine.telemetry.gpu.family", lambda: frozenset(pids))
        return gpu_devices({})

    return find


def test_a_whole_gpu_has_all_figures(devices):
    whole = devices(11, 12)[0]
    assert whole == GpuDevice(0, "NVIDIA A100", "GPU-0-uuid", 30 * GIB, 40 * GIB, 37.0, 41.0, 91.5, 5 * GIB)


def test_memory_of_a_run_is_that_of_its_processes_and_unknown_where_nobody_says(devices):
    assert devices(99)[0].run_bytes == 4 * GIB
    assert devices(13, 100)[0].run_bytes == 0
    assert [device.run_bytes for device in devices(11)[1:]] == [GIB, None]


def test_a_gpu_under_mig_is_its_slices_and_a_lost_one_is_left_out(devices):
    _, *slices = devices()
    assert [s.uuid for s in slices] == ["MIG-0-uuid", "MIG-1-uuid"]
    assert {(s.index, s.free_bytes, s.utilisation, s.temperature) for s in slices} == {(1, 4 * GIB, None, 41.0)}


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("0,1", ["GPU-a", "GPU-b"]),
        ("1,0", ["GPU-b", "GPU-a"]),
        ("1", ["GPU-b"]),
        ("GPU-b", ["GPU-b"]),
        ("MIG-c, 0", ["MIG-c", "GPU-a"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["GPU-a"]),
        ("0,0", ["GPU-a"]),
        ("GPU", []),
    ],
)
def test_only_what_cuda_would_see_is_listed_in_its_order(visible, uuids):
    devices = [device(0, "GPU-a"), device(1, "GPU-b"), device(2, "MIG-c"), device(2, "MIG-d")]
    assert [d.uuid for d in select_visible(devices, visible)] == uuids


def test_the_list_is_empty_or_true_on_this_machine():
    for found in gpu_devices({}):
        assert 0 <= found.free_bytes <= found.total_bytes and found.name
    assert gpu_devices({"CUDA_VISIBLE_DEVICES": ""}) == []


@pytest.mark.gpu
def test_a_run_finds_its_own_memory():
    import torch

    before = gpu_devices()[0].run_bytes or 0
    block = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    taken = gpu_devices()[0].run_bytes
    assert block.nbytes <= taken - before <= 3 * block.nbytes
    del block
