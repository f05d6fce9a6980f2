"""Under a limit below the cache's size: the check says so and names the limit, training reads from disk and fits."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cgroup import limited
from numpy.typing import NDArray
from toy_cache import POINTS, toy_target

from ups_engine.latents.building.completion import build_target
from ups_engine.latents.checking.report import check_targets
from ups_engine.latents.target import CacheContext, CacheTarget
from ups_engine.telemetry import cgroups
from ups_engine.telemetry.memory import available_memory

MIB = 1 << 20
SCRIPT = Path(__file__).with_name("limited_reader.py")

TREES = {
    "a systemd service with a slice's limit above it, version 2": (
        "0::/work.slice/ups.service",
        {
            "memory.stat": "anon 0",
            "work.slice/memory.max": str(256 * MIB),
            "work.slice/memory.current": str(200 * MIB),
            "work.slice/memory.stat": f"anon {150 * MIB}\nfile {50 * MIB}\ninactive_file {40 * MIB}",
            "work.slice/ups.service/memory.max": "max",
            "work.slice/ups.service/memory.current": str(120 * MIB),
            "work.slice/ups.service/memory.stat": "inactive_file 0",
        },
        "cgroup /work.slice (memory.max)",
        96 * MIB,
    ),
    "a container with a namespace of its own, version 2": (
        "0::/",
        {
            "memory.max": str(512 * MIB),
            "memory.current": str(300 * MIB),
            "memory.stat": f"anon {100 * MIB}\nfile {200 * MIB}\nshmem {150 * MIB}\ninactive_file {30 * MIB}",
        },
        "cgroup / (memory.max)",
        242 * MIB,
    ),
    "a container under the host's path, version 1": (
        "9:memory:/docker/4f1c\n1:name=systemd:/docker/4f1c\n0::/system.slice/containerd.service",
        {
            "memory/memory.limit_in_bytes": str(256 * MIB),
            "memory/memory.usage_in_bytes": str(180 * MIB),
            "memory/memory.stat": f"cache {90 * MIB}\ninactive_file 5\ntotal_inactive_file {60 * MIB}",
        },
        "cgroup / (memory.limit_in_bytes)",
        136 * MIB,
    ),
    "a step of a SLURM job, version 1": (
        "4:memory:/slurm/uid_1000/job_77/step_0",
        {
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": str(900 * MIB),
            "memory/slurm/uid_1000/job_77/memory.limit_in_bytes": str(200 * MIB),
            "memory/slurm/uid_1000/job_77/memory.usage_in_bytes": str(64 * MIB),
            "memory/slurm/uid_1000/job_77/memory.stat": f"total_inactive_file {4 * MIB}",
            "memory/slurm/uid_1000/job_77/step_0/memory.limit_in_bytes": str(400 * MIB),
            "memory/slurm/uid_1000/job_77/step_0/memory.usage_in_bytes": str(64 * MIB),
        },
        "cgroup /slurm/uid_1000/job_77 (memory.limit_in_bytes)",
        140 * MIB,
    ),
    "both versions mounted, limited by the second": (
        "4:cpu:/x\n0::/user.slice",
        {
            "cpu/x/cpu.shares": "1024",
            "unified/user.slice/memory.max": str(128 * MIB),
            "unified/user.slice/memory.current": str(100 * MIB),
            "unified/user.slice/memory.stat": f"inactive_file {10 * MIB}",
        },
        "cgroup /user.slice (memory.max)",
        38 * MIB,
    ),
}


def large(folder: Path) -> CacheTarget:
    """A cache of which only the size is looked at: 1.5 GiB in RAM."""
    return toy_target(folder, samples=(3 << 29) // (5 * 6 * 4 * 4))


@pytest.mark.parametrize("name", TREES)
def test_in_a_recorded_tree_the_check_says_insufficient_and_names_the_limit(tmp_path, monkeypatch, name):
    membership, files, source, available = TREES[name]
    root = tmp_path / "groups"
    for file, text in {**files, "membership": membership}.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text + "\n")
    monkeypatch.setattr(cgroups, "CGROUP_FILE", root / "membership")
    monkeypatch.setattr(cgroups, "CGROUP_ROOT", root)
    memory = available_memory()
    assert (memory.limit_source, memory.available_bytes) == (source, available)
    context = CacheContext((large(tmp_path),), "a test", "cpu", "auto")
    report = check_targets(context, memory=memory, gpus=[])
    ram = report.to_json()["ram"]
    assert ram == {"available_bytes": available, "limit_source": source, "sufficient": False}
    assert report.residency.choice == "disk" and source in report.verdict()


def same_everywhere(rows: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """Fields that cost nothing to make."""
    values = np.sin(rows, dtype=np.float32)[:, None, None, None]
    return np.ascontiguousarray(np.broadcast_to(values, (len(rows), len(frames), POINTS, 1)))


def test_inside_a_real_group_training_reads_from_disk_and_stays_below_the_limit(tmp_path):
    frames, samples = 10_000, 500
    limit = 440 * MIB
    target = toy_target(tmp_path, samples=samples, frames=frames, dtype="float16")
    assert target.layout.memory_bytes > limit
    try:
        with limited(limit) as (group, limit_file):
            build_target(replace(target, read=same_everywhere))
            command = [sys.executable, str(SCRIPT), str(group), str(tmp_path), str(samples), str(frames)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except OSError as refused:
        pytest.skip(f"no control group can be made here: {refused}")
    assert done.returncode == 0, f"ended by {done.returncode} (-9: it went over its limit): {done.stderr}"
    found = json.loads(done.stdout)
    assert found["required"] > limit and not found["ram"]["sufficient"] and found["residency"]["choice"] == "disk"
    assert found["ram"]["limit_source"].endswith(f"{group.name} ({limit_file})")
    assert found["ram"]["limit_source"] in found["verdict"] and not found["said"]
    every = target.encode(same_everywhere(target.rows, np.arange(1)))[:, 0, 0, 0].to(torch.float16).double()
    assert np.allclose(found["sums"], frames * every.numpy(), rtol=1e-5)
