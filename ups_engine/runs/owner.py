"""Who owns a run: a process, named so that no other process, now or after a reboot, can be mistaken for it."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Owner:
    """The process that writes a run.

    A pid alone is reused sooner or later; with the start time and the boot id it is unique.
    """

    pid: int
    start_time: float
    """When the process started: seconds since boot on Linux, UNIX time elsewhere."""
    boot_id: str
    """Of the running kernel; shared by the containers on one machine, new after a reboot."""
    host: str
    ranks: int
    """Processes that take part in the training."""
    alive: bool = False
    """As found out when the owner was looked up; see `lease.owner_of`."""

    @classmethod
    def this_process(cls, ranks: int = 1) -> Self:
        """Describe the calling process."""
        pid = os.getpid()
        start = start_time(pid)
        assert start is not None
        return cls(pid, start, boot_id(), os.uname().nodename, ranks, alive=True)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: the value is something else.
        """
        pid, start, boot, host, ranks = (value[name] for name in ("pid", "start_time", "boot_id", "host", "ranks"))
        return cls(int(pid), float(start), str(boot), str(host), int(ranks))

    def to_json(self) -> dict[str, int | float | str]:
        """Give the fields under their names, without `alive`, which is no lasting truth."""
        return {name: value for name, value in vars(self).items() if name != "alive"}

    def on_this_kernel(self) -> bool:
        """Tell whether the process ran under the kernel that runs now, so that its end can be seen from here."""
        return self.boot_id == boot_id()

    def process_exists(self) -> bool:
        """Tell whether exactly this process is seen to live on this machine."""
        return self.on_this_kernel() and start_time(self.pid) == self.start_time


@cache
def boot_id() -> str:
    """Identify this boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        import psutil

        return f"{os.uname().nodename}-{psutil.boot_time():.0f}"


def start_time(pid: int) -> float | None:
    """When a live process started, in a unit that is exact and the same for every reader; None without one."""
    if sys.platform != "linux":
        import psutil

        try:
            return float(psutil.Process(pid).create_time())
        except psutil.Error:
            return None
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field, the command in brackets, may itself hold blanks and brackets.
    fields = status.rpartition(b")")[2].split()
    if fields[0] in (b"Z", b"X"):  # ended, not yet collected by its parent
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")
