"""How much memory this process may still take, and which limit says so.

The host's free memory is not the answer inside a container or a batch job. Every limit that applies is looked up:
the host's, that of each ancestor control group (version 1 or 2), and the request of a SLURM job. The tightest wins.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from ups_engine.telemetry.process import family

_MEBIBYTE = 1 << 20
_UNLIMITED = 1 << 60  # version 1 writes a number near 2^63 where there is no limit


@dataclass(frozen=True)
class MemoryBudget:
    """Memory under the tightest limit.

    Attributes:
        available_bytes: what can still be taken, reclaimable page cache included.
        limit_source: what sets the limit, such as `host memory` or `cgroup /job (memory.max)`.
        total_bytes: the limit itself.
    """

    available_bytes: int
    limit_source: str
    total_bytes: int


@dataclass(frozen=True)
class ProcessMemory:
    """Memory of this process.

    Attributes:
        resident_bytes: in RAM now, mapped files included.
        peak_bytes: the most it ever was.
    """

    resident_bytes: int
    peak_bytes: int


def available_memory(
    *,
    cgroup_file: Path = Path("/proc/self/cgroup"),
    cgroup_root: Path = Path("/sys/fs/cgroup"),
    environment: Mapping[str, str] | None = None,
) -> MemoryBudget:
    """The memory that this process may still take: the budget of `memory_budgets` with the least left."""
    budgets = memory_budgets(cgroup_file=cgroup_file, cgroup_root=cgroup_root, environment=environment)
    return min(budgets, key=lambda budget: budget.available_bytes)


def memory_budgets(
    *,
    cgroup_file: Path = Path("/proc/self/cgroup"),
    cgroup_root: Path = Path("/sys/fs/cgroup"),
    environment: Mapping[str, str] | None = None,
) -> list[MemoryBudget]:
    """Every limit that applies to this process's memory, and what it leaves; the host's first.

    Args:
        cgroup_file: where the kernel lists the control groups of this process.
        cgroup_root: where control groups are mounted.
        environment: searched for SLURM's variables; None means the process's own.
    """
    host = psutil.virtual_memory()
    return [
        MemoryBudget(int(host.available), "host memory", int(host.total)),
        *_cgroup_budgets(cgroup_file, cgroup_root),
        *_slurm_budgets(os.environ if environment is None else environment),
    ]


def process_memory() -> ProcessMemory:
    """Resident memory of this process, now and at its peak."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return ProcessMemory(int(psutil.Process().memory_info().rss), peak)


def _cgroup_budgets(cgroup_file: Path, root: Path) -> Iterator[MemoryBudget]:
    """Budgets of every control group from this process's own up to the root."""
    try:
        lines = cgroup_file.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            # Where both versions are mounted, the second has a folder of its own.
            for group, name in _ancestors(root / "unified" if (root / "unified").is_dir() else root, path):
                for limit in ("memory.max", "memory.high"):
                    yield from _budget(group, name, limit, "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            for group, name in _ancestors(root / "memory", path):
                yield from _budget(group, name, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _ancestors(root: Path, path: str) -> Iterator[tuple[Path, str]]:
    """The groups above and at a path, with their names. In a container the path may be the host's: what is not
    there is passed over, and the root is the container's own group."""
    names = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(names), -1, -1):
        group = root.joinpath(*names[:depth])
        if group.is_dir():
            yield group, "/" + "/".join(names[:depth])


def _budget(group: Path, name: str, limit_file: str, usage_file: str, reclaimable: str) -> Iterator[MemoryBudget]:
    limit, usage = _number(group / limit_file), _number(group / usage_file)
    if limit is None or usage is None or limit >= _UNLIMITED:
        return
    # Clean file pages count as used but give way at once; shared memory and tmpfs do not and are not among them.
    free = limit - usage + _statistic(group / "memory.stat", reclaimable)
    yield MemoryBudget(min(max(free, 0), limit), f"cgroup {name} ({limit_file})", limit)


def _number(path: Path) -> int | None:
    """The number that a control file holds; None for `max`, or where there is no such file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _statistic(path: Path, key: str) -> int:
    try:
        match = re.search(rf"^{key} (\d+)$", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0


def _slurm_budgets(environment: Mapping[str, str]) -> Iterator[MemoryBudget]:
    """What the job asked for on this node, less what this process and its children hold.

    Variables are in MiB; `SLURM_MEM_PER_NODE=0` means the whole node. Where SLURM enforces its limit by control
    groups, those are exact and found above.
    """
    counts = {"SLURM_MEM_PER_NODE": 1, "SLURM_MEM_PER_CPU": _count(environment, "SLURM_CPUS_ON_NODE")}
    counts["SLURM_MEM_PER_GPU"] = _count(environment, "SLURM_GPUS_ON_NODE")
    for variable, count in counts.items():
        limit = _count(environment, variable) * count * _MEBIBYTE
        if limit:
            yield MemoryBudget(max(limit - _held_by_family(), 0), variable, limit)


def _count(environment: Mapping[str, str], variable: str) -> int:
    """A variable as a whole number; 0 where it is unset or no number."""
    text = environment.get(variable, "")
    return int(text) if text.isdecimal() else 0


def _held_by_family() -> int:
    """Resident bytes of this process and its descendants."""
    total = 0
    for pid in family():
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return total
