"""This process and those that it started."""

import os
import time
from pathlib import Path


def family() -> frozenset[int]:
    """Pids of this process and all its descendants; without Linux's `/proc` of this process alone."""
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += _children(pid)
    return frozenset(found)


class CpuMeter:
    """How busy this process keeps the processors."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), time.process_time())

    def percent(self) -> float:
        """Use since the last call, or since the meter was made, over all threads; 100 is one core's whole time."""
        now, used = time.monotonic(), time.process_time()
        (then, used_then), self._last = self._last, (now, used)
        return 100 * max(used - used_then, 0.0) / max(now - then, 1e-9)  # a forked child begins to count anew


def _children(pid: int) -> list[int]:
    """Every thread's children, which the kernel lists; reading the parents of all processes takes far longer."""
    try:
        return [
            int(child)
            for thread in Path(f"/proc/{pid}/task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
    except OSError:  # the process, or the thread, has just ended
        return []
