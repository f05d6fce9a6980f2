"""What lies at the ends of each axis of a source, and who says so: the settings, the file, or a convention."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ups_engine.config.data import BoundarySettings
from ups_engine.data.sources.files import FileName, always_wraps, parse_name
from ups_engine.data.tasks import TASKS
from ups_engine.discretisation.sample import AXES
from ups_engine.errors import DataError, SettingsError

SETTING, ATTRIBUTE, NAME, LAYOUT = "setting", "attribute of the file", "name of the file", "convention of the layout"


@dataclass(frozen=True)
class AxisBoundary:
    """The two ends of an axis.

    Attributes:
        kind: `periodic`, `open`, or what holds at the ends, such as `dirichlet`; all but the first end.
        origin: who says so, in words.
    """

    kind: str
    origin: str

    @property
    def periodic(self) -> bool:
        """Whether the ends are neighbours."""
        return self.kind == "periodic"

    def __str__(self) -> str:
        return f"{self.kind} ({self.origin})"

    def to_json(self) -> dict[str, str]:
        """What `recorded` reads."""
        return {"kind": self.kind, "from": self.origin}


def recorded(entries: list[Mapping[str, str]]) -> tuple[AxisBoundary, ...]:
    """Of every axis, from what `AxisBoundary.to_json` gave."""
    return tuple(AxisBoundary(entry["kind"], entry["from"]) for entry in entries)


def of_task(task: str, axes: int, told_by: str = "") -> tuple[AxisBoundary | None, ...]:
    """What the declaration of a task says of each axis; None where it leaves that to the files.

    Args:
        task: the PDE.
        axes: of the domain.
        told_by: who says that it is this task, where that is no more than a convention.
    """
    declared = TASKS[task].axes if task in TASKS else ()
    if len(declared) != axes:
        return (None,) * axes
    return tuple(axis.boundary and AxisBoundary(axis.boundary, f"task {task}{told_by}") for axis in declared)


def of_file(
    file: h5py.File, name: FileName, task: str | None, axes: int, *, convention: str, where: str
) -> tuple[AxisBoundary, ...]:
    """Of every axis: by the file's attribute `periodic`, else by words in its name, its task, or its layout.

    Args:
        file: opened.
        name: what its name declares.
        task: the PDE, as the attributes or the name say.
        axes: of the domain.
        convention: the kind that the layout is taken for where nothing says it.
        where: the file, for messages.

    Raises:
        DataError: an attribute that is neither true nor false, or of another number of axes.
    """
    if "periodic" in file.attrs:
        values = np.asarray(file.attrs["periodic"])
        if values.dtype.kind not in "biu" or values.shape not in ((), (1,), (axes,)):
            raise DataError(
                f"{where}: attribute periodic is {values.tolist()!r}; expected true or false, once or for {axes} axes",
                "mend the attribute, or take it away and say it with --set data.boundary=KIND",
            )
        return tuple(_ends(bool(wraps), ATTRIBUTE) for wraps in np.broadcast_to(values, (axes,)))
    if name.periodic is not None and not (name.task and always_wraps(name.task)):
        return (_ends(name.periodic, NAME),) * axes
    told_by = "" if "task" in file.attrs else ", by the name of the file"
    declared = of_task(task, axes, told_by) if task is not None else (None,) * axes
    return tuple(said or AxisBoundary(convention, LAYOUT) for said in declared)


def _ends(wraps: bool, origin: str) -> AxisBoundary:
    return AxisBoundary("periodic" if wraps else "open", origin)


def with_settings(found: tuple[AxisBoundary, ...], settings: BoundarySettings) -> tuple[AxisBoundary, ...]:
    """Of every axis: by the settings, where they name it, else as found.

    Raises:
        SettingsError: an axis by itself that the data does not have.
    """
    kinds = settings.kinds
    # one kind for all axes is no surplus
    if surplus := [axis for axis in AXES[len(found) :] if kinds[axis] not in (None, kinds["x"])]:
        raise SettingsError(
            f"data.boundary.{surplus[0]} is set, but the data has no axis {surplus[0]}",
            f"leave data.boundary.{surplus[0]} out",
        )
    chosen = (kinds[axis] for axis in AXES)
    return tuple(AxisBoundary(kind, SETTING) if kind else seen for kind, seen in zip(chosen, found, strict=False))


def name_against_attribute(path: Path, boundaries: tuple[AxisBoundary, ...]) -> str | None:
    """A sentence where the words of a file's name contradict its attribute `periodic`, which is taken; else None."""
    words = path.stem.lower().split("_")
    if "periodic" in words and "non" not in words:
        wraps = True
    elif parse_name(path).periodic is False:  # what PDEBench calls open says `trans`; elsewhere that may mean anything
        wraps = False
    else:
        return None
    taken = {ends.kind for ends in boundaries if ends.origin == ATTRIBUTE and ends.periodic != wraps}
    if not taken:
        return None
    kind = "periodic" if wraps else "open"
    return (
        f"the attribute periodic of the file says {' and '.join(sorted(taken))}, its name"
        f" `_{'periodic' if wraps else 'trans'}_`: the attribute is taken; if the name is right, say so with"
        f" --set data.boundary={kind}"
    )


def boundary_sentence(boundaries: tuple[AxisBoundary, ...]) -> str:
    """What is taken for each axis, such as `x periodic (attribute of the file)`."""
    return ", ".join(f"{axis} {boundary}" for axis, boundary in zip(AXES, boundaries, strict=False))
