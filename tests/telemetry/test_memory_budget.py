"""Free memory is what the tightest limit leaves, and the limit is named."""

import os
from pathlib import Path

import psutil
import pytest

from ups_engine.telemetry import cgroups
from ups_engine.telemetry.memory import available_memory, resident_bytes
from ups_engine.telemetry.units import human_bytes

MIB = 1 << 20


def recorded(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def budget(root: Path, membership: str, environment: dict[str, str] | None = None):
    (root / "membership").write_text(membership + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroups, "CGROUP_FILE", root / "membership")
        patch.setattr(cgroups, "CGROUP_ROOT", root)
        patch.setattr(os, "environ", environment or {})
        return available_memory()


def test_the_tightest_ancestor_of_version_two_counts_and_inactive_pages_are_free(tmp_path):
    recorded(
        tmp_path,
        {
            "user.slice/memory.max": str(512 * MIB),
            "user.slice/memory.current": str(400 * MIB),
            "user.slice/memory.stat": f"anon {100 * MIB}\ninactive_file {50 * MIB}\nactive_file {250 * MIB}",
            "user.slice/job/memory.max": str(1024 * MIB),
            "user.slice/job/memory.current": str(100 * MIB),
            "user.slice/job/memory.stat": "inactive_file 0",
            "user.slice/job/step/memory.max": "max",
            "user.slice/job/step/memory.current": str(100 * MIB),
        },
    )
    found = budget(tmp_path, "0::/user.slice/job/step")
    assert found.available_bytes == (512 - 400 + 50) * MIB
    assert found.total_bytes == 512 * MIB
    assert found.limit_source == "cgroup /user.slice (memory.max)"


def test_a_throttling_limit_counts_like_a_hard_one(tmp_path):
    recorded(
        tmp_path,
        {"a/memory.max": str(512 * MIB), "a/memory.high": str(256 * MIB), "a/memory.current": str(200 * MIB)},
    )
    assert budget(tmp_path, "0::/a").limit_source == "cgroup /a (memory.high)"
    assert budget(tmp_path, "0::/a").available_bytes == 56 * MIB


def test_a_container_sees_its_limit_at_the_root_under_the_hosts_path(tmp_path):
    recorded(tmp_path, {"memory.max": str(256 * MIB), "memory.current": str(16 * MIB)})
    found = budget(tmp_path, "0::/../docker/0123")
    assert (found.available_bytes, found.limit_source) == (240 * MIB, "cgroup / (memory.max)")


def test_version_one_counts_with_its_own_names(tmp_path):
    recorded(
        tmp_path,
        {
            "memory/slurm/job_1/memory.limit_in_bytes": str(300 * MIB),
            "memory/slurm/job_1/memory.usage_in_bytes": str(250 * MIB),
            "memory/slurm/job_1/memory.stat": f"inactive_file 1\ntotal_inactive_file {30 * MIB}",
            "memory/slurm/memory.limit_in_bytes": "9223372036854771712",
            "memory/slurm/memory.usage_in_bytes": str(260 * MIB),
        },
    )
    found = budget(tmp_path, "11:cpu,cpuacct:/x\n9:memory:/slurm/job_1\n0::/")
    assert (found.available_bytes, found.total_bytes) == (80 * MIB, 300 * MIB)
    assert found.limit_source == "cgroup /slurm/job_1 (memory.limit_in_bytes)"


def test_usage_above_the_limit_leaves_nothing_and_never_more_than_the_limit(tmp_path):
    recorded(tmp_path, {"a/memory.max": str(8 * MIB), "a/memory.current": str(9 * MIB)})
    assert budget(tmp_path, "0::/a").available_bytes == 0
    recorded(
        tmp_path,
        {"a/memory.current": str(MIB), "a/memory.stat": f"inactive_file {99 * MIB}"},
    )
    assert budget(tmp_path, "0::/a").available_bytes == 8 * MIB


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_MEM_PER_NODE": "1024"},
        {"SLURM_MEM_PER_CPU": "256", "SLURM_CPUS_ON_NODE": "4"},
        {"SLURM_MEM_PER_GPU": "512", "SLURM_GPUS_ON_NODE": "2"},
    ],
)
def test_a_slurm_job_has_what_it_asked_for_less_what_it_holds(tmp_path, environment):
    found = budget(tmp_path, "", environment)
    assert found.limit_source == next(iter(environment))
    assert found.total_bytes == 1024 * MIB
    assert 0 <= found.available_bytes < 1024 * MIB - psutil.Process().memory_info().rss // 2


@pytest.mark.parametrize("environment", [{}, {"SLURM_MEM_PER_NODE": "0"}, {"SLURM_MEM_PER_CPU": "oops"}])
def test_without_limits_the_host_counts(tmp_path, environment):
    found = budget(tmp_path, "nonsense", environment)
    assert found.limit_source == "host memory"
    assert found.total_bytes == psutil.virtual_memory().total


def test_this_machine_has_a_budget_below_its_limit():
    found = available_memory()
    assert 0 < found.available_bytes <= found.total_bytes and found.limit_source


def test_the_process_knows_its_memory():
    before = resident_bytes()
    block = bytearray(64 * MIB)
    assert 10 * MIB < before < resident_bytes() - len(block) // 2


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (10 * MIB, "10.0 MiB"), (3 * 2**40 // 2, "1.50 TiB")],
)
def test_sizes_have_three_figures(count, text):
    assert human_bytes(count) == text
