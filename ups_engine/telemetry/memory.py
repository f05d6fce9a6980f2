"""How much memory this process may still take, and which limit says so.

The host's free memory is not the answer inside a container or a batch job. Every limit that applies is looked up:
the host's, that of each ancestor control group (version 1 or 2), and the request of a SLURM job. The tightest wins.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from ups_engine.telemetry.cgroups import control_groups
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


def available_memory(budgets: Sequence[MemoryBudget] | None = None) -> MemoryBudget:
    """The memory that this process may still take: of `memory_budgets`, or those given, the one with the least left."""
    return min(memory_budgets() if budgets is None else budgets, key=lambda budget: budget.available_bytes)


def memory_budgets() -> list[MemoryBudget]:
    """Every limit that applies to this process's memory, and what it leaves; the host's first."""
    host = psutil.virtual_memory()
    whole = MemoryBudget(int(host.available), "host memory", int(host.total))
    return [whole, *_cgroup_budgets(), *_slurm_budgets()]


def resident_bytes() -> int:
    """Memory of this process in RAM now, mapped files included."""
    return int(psutil.Process().memory_info().rss)


def _cgroup_budgets() -> Iterator[MemoryBudget]:
    """Budgets of every control group from this process's own up to the root."""
    for group in control_groups("memory"):
        limits = ("memory.max", "memory.high") if group.version == 2 else ("memory.limit_in_bytes",)
        usage = group.numbers("memory.current" if group.version == 2 else "memory.usage_in_bytes")
        # Clean file pages count as used but give way at once; shared memory and tmpfs do not and are not among them.
        reclaimable = re.search(
            rf"^{'' if group.version == 2 else 'total_'}inactive_file (\d+)$", group.text("memory.stat"), re.MULTILINE
        )
        for name in limits:
            limit = group.numbers(name)
            if limit and usage and limit[0] < _UNLIMITED:
                free = limit[0] - usage[0] + (int(reclaimable[1]) if reclaimable else 0)
                yield MemoryBudget(min(max(free, 0), limit[0]), f"cgroup {group.name} ({name})", limit[0])


def _slurm_budgets() -> Iterator[MemoryBudget]:
    """What the job asked for on this node, less what this process and its children hold.

    Variables are in MiB; `SLURM_MEM_PER_NODE=0` means the whole node. Where SLURM enforces its limit by control
    groups, those are exact and found above.
    """
    counts = {"SLURM_MEM_PER_NODE": 1, "SLURM_MEM_PER_CPU": _count("SLURM_CPUS_ON_NODE")}
    counts["SLURM_MEM_PER_GPU"] = _count("SLURM_GPUS_ON_NODE")
    for variable, count in counts.items():
        limit = _count(variable) * count * _MEBIBYTE
        if limit:
            yield MemoryBudget(max(limit - _held_by_family(), 0), variable, limit)


def _count(variable: str) -> int:
    """A variable of the environment as a whole number; 0 where it is unset or no number."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0


def _held_by_family() -> int:
    """Resident bytes of this process and its descendants."""
    total = 0
    for pid in family():
        with suppress(psutil.Error):  # it has just ended
            total += psutil.Process(pid).memory_info().rss
    return total
