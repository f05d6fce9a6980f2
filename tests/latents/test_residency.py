"""The residency is the fastest that fits, or the forced one, and is explained."""

import pytest
import torch

from ups_engine.errors import SettingsError
from ups_engine.latents.residency import choose, gpu_free, gpu_sufficient, mapped_limit, ram_sufficient
from ups_engine.telemetry.gpu import GpuDevice
from ups_engine.telemetry.memory import MemoryBudget

GIB = 1 << 30
ROOMY = MemoryBudget(40 * GIB, "host memory", 64 * GIB)
TIGHT = MemoryBudget(3 * GIB, "cgroup /job (memory.max)", 4 * GIB)


@pytest.mark.parametrize(
    ("required", "memory", "free", "choice"),
    [
        (10 * GIB, ROOMY, 80 * GIB, "gpu"),
        (10 * GIB, ROOMY, None, "ram"),
        (10 * GIB, ROOMY, 11 * GIB, "ram"),
        (10 * GIB, TIGHT, 11 * GIB, "disk"),
        (10 * GIB, TIGHT, None, "disk"),
        (100 * GIB, ROOMY, 80 * GIB, "disk"),
        (34 * GIB, ROOMY, None, "disk"),  # fits into what is free, but not beside the margin
    ],
)
def test_auto_takes_the_fastest_place_that_holds_the_latents(required, memory, free, choice):
    assert choose(required, memory, free).choice == choice


def test_the_reason_names_the_need_the_room_and_the_limit():
    assert choose(10 * GIB, TIGHT, None).reason == (
        "10.0 GiB of latents do not fit into the 3.00 GiB of memory free under cgroup /job (memory.max),"
        " of which 512 MiB are kept back, so they are mapped from disk; training runs on the CPU"
    )
    assert choose(10 * GIB, ROOMY, 80 * GIB).reason == (
        "10.0 GiB of latents fit into the 80.0 GiB free on the GPU, of which 8.00 GiB are kept for the networks"
    )


@pytest.mark.parametrize("forced", ["gpu", "ram", "disk"])
def test_a_forced_residency_is_taken_and_its_risk_named(forced):
    assert choose(GIB, ROOMY, 80 * GIB, forced).reason == f"latent.residency = {forced} asks for it"
    residency = choose(10 * GIB, TIGHT, 10 * GIB, forced)
    assert residency.choice == forced
    assert ("although 10.0 GiB of latents do not fit into" in residency.reason) == (forced != "disk")


def test_the_gpu_cannot_be_forced_where_there_is_none():
    with pytest.raises(SettingsError, match=r"latent\.residency = gpu, but training runs on the CPU"):
        choose(GIB, ROOMY, None, "gpu")


def test_the_margins_are_a_tenth_and_not_less_than_half_a_gigabyte_or_two():
    assert ram_sufficient(GIB // 2, MemoryBudget(GIB, "x", GIB)) and not ram_sufficient(
        GIB // 2 + 1, MemoryBudget(GIB, "x", GIB)
    )
    assert ram_sufficient(36 * GIB, MemoryBudget(40 * GIB, "x", 40 * GIB))
    assert gpu_sufficient(6 * GIB, 8 * GIB) and not gpu_sufficient(6 * GIB + 1, 8 * GIB)


def test_the_free_memory_is_that_of_the_gpu_that_trains():
    gpus = [GpuDevice(i, "g", str(i), free, 9 * GIB, None, None, None) for i, free in ((3, GIB), (5, 2 * GIB))]
    assert gpu_free(torch.device("cuda:1"), gpus) == 2 * GIB
    assert gpu_free(torch.device("cuda"), gpus) == GIB
    assert gpu_free(torch.device("cpu"), gpus) is None


def test_mapped_pages_stay_while_they_fit_beside_what_is_kept_back():
    assert mapped_limit(ROOMY) == 40 * GIB - 64 * GIB // 10
    assert mapped_limit(MemoryBudget(GIB // 4, "cgroup /job (memory.max)", GIB)) == GIB // 8
