"""A control group with a memory limit, below that of this process, where one may be made."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def limited(limit: int) -> Iterator[tuple[Path, str]]:
    """Give a new group with a limit in bytes and the limit's name;
    a process enters by writing its pid into `cgroup.procs`.

    Raises:
        OSError: no group can be made here.
    """
    parent, limit_file = _own_group()
    group = parent / f"ups-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit_file).write_text(str(limit))
        with suppress(OSError):
            (group / "memory.swap.max").write_text("0")
        yield group, limit_file
    finally:
        group.rmdir()


def _own_group() -> tuple[Path, str]:
    """The memory group of this process, in which groups may be made, and the file of its limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return ROOT / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
        if number == "0" and (ROOT / "cgroup.subtree_control").exists():
            group = ROOT / path.lstrip("/")
            # Version 2 lets no group hold both processes and limited children, but for the root of all.
            if "memory" in (group / "cgroup.subtree_control").read_text().split():
                return group, "memory.max"
    raise FileNotFoundError("no group of this process may have limited children")
