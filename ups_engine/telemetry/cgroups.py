"""Control groups of this process, of versions 1 and 2."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CGROUP_FILE = Path("/proc/self/cgroup")
"""Where the kernel lists the control groups of this process."""
CGROUP_ROOT = Path("/sys/fs/cgroup")
"""Where control groups are mounted."""


@dataclass(frozen=True)
class ControlGroup:
    """A control group that this process is in, itself or by a descendant."""

    name: str
    """Its path below the root: `/job/step`."""
    folder: Path
    version: Literal[1, 2]

    def text(self, name: str) -> str:
        """What a control file says; nothing where there is none."""
        try:
            return (self.folder / name).read_text()
        except OSError:
            return ""

    def numbers(self, name: str) -> list[int]:
        """The numbers of a control file; none where it says `max`, or is not there."""
        try:
            return [int(word) for word in self.text(name).split()]
        except ValueError:
            return []


def control_groups(controller: str) -> Iterator[ControlGroup]:
    """The groups that control this process, from its own up to the root.

    In a container the path may be the host's: what is not there is passed over, and the root is the container's own
    group.

    Args:
        controller: of version 1, such as `memory`; version 2 has one group for all.
    """
    try:
        lines = CGROUP_FILE.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        version: Literal[1, 2] = 2 if number == "0" and not controllers else 1
        if version == 1 and controller not in controllers.split(","):
            continue
        # Where both versions are mounted, the second has a folder of its own.
        own = "unified" if version == 2 and (CGROUP_ROOT / "unified").is_dir() else "" if version == 2 else controller
        names = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(names), -1, -1):
            folder = (CGROUP_ROOT / own).joinpath(*names[:depth])
            if folder.is_dir():
                yield ControlGroup("/" + "/".join(names[:depth]), folder, version)
