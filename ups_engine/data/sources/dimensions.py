"""Which stored axis of an array is which: by the names that a file gives them, else by the layout and what fits it.

Names are dimension scales (as NetCDF-4 has them) or labels of the dataset. MATLAB stores axes in reverse; its attribute
MATLAB_class says so, but not which order its user had in mind, which the axes stored beside the array have to tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import h5py

from ups_engine.data.sources.axes import flat_axis
from ups_engine.errors import DataError

Role = Literal["sample", "time", "space", "channel"]
Layout: TypeAlias = Callable[[tuple[int, ...]], tuple[Role, ...]]
"""The roles that UPS's layout gives to axes of such lengths; raises DataError where it has none."""

_WORDS: dict[Role, str] = {
    "sample": "n sample samples trajectory trajectories traj run runs case cases member members ensemble batch"
    " realization realisation realizations simulation simulations sim instance instances ic ics",
    "time": "t time times frame frames step steps timestep timesteps time_step time_steps nt",
    "space": "x y z lat lon latitude longitude h w height width depth lev level nx ny nz",
    "channel": "c channel channels component components variable variables field fields feature features",
}
_ROLES: dict[str, Role] = {word: role for role, words in _WORDS.items() for word in words.split()}
_LETTERS: dict[Role, str] = {"sample": "N", "time": "T", "channel": "C"}
_ONE_RUN = "; instants of one run are no trajectories"
_WINDOWS = "UPS learns from many trajectories: write several runs, or windows of this one, as (N, T, *space)"
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"


@dataclass(frozen=True)
class Beside:
    """Positions that a file stores beside an array.

    Attributes:
        name: of their dataset.
        length: of the axis that they are of.
        reserved: whether the name is PDEBench's, whose times are one more than the frames.
    """

    name: str
    length: int
    reserved: bool


@dataclass(frozen=True)
class Arrangement:
    """The axes of an array in the order (N, T, *space) or (N, T, *space, C).

    Attributes:
        order: the stored axis of each.
        roles: of each.
        names: that the file gives them, or None.
        said_by: who says that they are not as the layout has them; None where they are.
    """

    order: tuple[int, ...]
    roles: tuple[Role, ...]
    names: tuple[str | None, ...]
    said_by: str | None

    @property
    def axes(self) -> int:
        """Of space."""
        return self.roles.count("space")


def role_of(name: str | None) -> Role | None:
    """What an axis of that name is; None for a name that says nothing."""
    return _ROLES.get(_short(name)) if name else None


def _short(name: str) -> str:
    return name.lower().removesuffix("coordinate").rstrip("-_ ")


def axis_names(dataset: h5py.Dataset) -> tuple[str | None, ...]:
    """By the labels of the dataset, else by the names of its dimension scales, axis by axis as stored."""
    scales = (_scale(dataset, axis) for axis in range(dataset.ndim))
    called = [scale.name.rsplit("/", 1)[-1] if scale is not None else None for scale in scales]
    return tuple(axis.label or name or None for axis, name in zip(dataset.dims, called, strict=True))


def scale_of(dataset: h5py.Dataset, axis: int) -> h5py.Dataset | None:
    """The dimension scale of a stored axis, where it holds positions."""
    return numeric(_scale(dataset, axis))


def _scale(dataset: h5py.Dataset, axis: int) -> h5py.Dataset | None:
    try:
        scales = dataset.dims[axis]
        return scales[0] if len(scales) and scales[0].name else None
    except RuntimeError:  # it was deleted, which harms nothing else
        return None


def naming(dataset: str, axes: Sequence[str]) -> str:
    """How to name the axes of a dataset inside its file."""
    return f"name the axes in the file: for i, a in enumerate({list(axes)}): file['{dataset}'].dims[i].label = a"


def arrange(
    dataset: h5py.Dataset,
    layout: Layout,
    time: Beside | None,
    space: Sequence[Beside | None],
    where: str,
) -> Arrangement:
    """Find out which axis is which.

    Args:
        dataset: the array.
        layout: that the file is taken for.
        time: the times that the file stores beside it.
        space: the positions along the axes of space that it stores beside it, in the layout's order.
        where: the file, for messages.

    Raises:
        DataError: names that contradict the layout without telling all, one run taken for many, or an order that
            nothing tells.
    """
    names, stored = axis_names(dataset), tuple(range(dataset.ndim))
    said, called = tuple(role_of(name) for name in names), dataset.name.lstrip("/")
    known = tuple(role for role in said if role is not None)
    if len(known) == dataset.ndim:
        return _by_names(names, known, called, where)
    if "MATLAB_class" in dataset.attrs:
        return _of_matlab(dataset, layout, time, space, where)
    if "time" not in said and (problem := _time_misfit(dataset.shape, time, called)):
        _refuse(where, problem, naming(called, ("sample", "time", "x", "y", "z")[: dataset.ndim]))
    roles = layout(dataset.shape)
    if contradicting := [
        f"{name} ({_ordinal(axis)})"
        for axis, (name, role) in enumerate(zip(names, said, strict=True))
        if role not in (None, roles[axis])
    ]:
        raise DataError(
            f"{where}: {called} {dataset.shape} has an axis named {', '.join(contradicting)}, where UPS expects"
            f" {_order(roles)}, and not all of its axes have names that tell what they are",
            naming(called, _example(roles)),
        )
    if "space" not in said and (problem := _space_misfit(roles, dataset.shape, space, called)):
        _refuse(where, problem, f"write it as {_order(roles)}, or {naming(called, _example(roles))}")
    return Arrangement(stored, roles, names, None)


def _by_names(names: tuple[str | None, ...], roles: tuple[Role, ...], called: str, where: str) -> Arrangement:
    listed = ", ".join(str(name) for name in names)
    if "sample" not in roles and "time" in roles:
        raise DataError(
            f"{where}: {called} has axes ({listed}): instants of one run, and no axis of trajectories",
            f"{_WINDOWS} and name the first axis 'sample'",
        )
    if roles.count("time") != 1 or roles.count("sample") != 1 or roles.count("channel") > 1 or "space" not in roles:
        raise DataError(
            f"{where}: {called} has axes ({listed}); UPS reads one of trajectories, one of time, one to three of space"
            " and at most one of channels",
            naming(called, ("sample", "time", "x")),
        )
    space = [axis for axis, role in enumerate(roles) if role == "space"]
    letters = {axis: _short(str(names[axis])) for axis in space}
    if {*letters.values()} <= {*"xyz"}:
        space.sort(key=letters.__getitem__)
    order = (roles.index("sample"), roles.index("time"), *space)
    order += (roles.index("channel"),) if "channel" in roles else ()
    straight = order == tuple(range(len(order)))
    return Arrangement(
        order,
        tuple(roles[axis] for axis in order),
        tuple(names[axis] for axis in order),
        None if straight else f"the names of its axes ({listed})",
    )


def _of_matlab(
    dataset: h5py.Dataset,
    layout: Layout,
    time: Beside | None,
    space: Sequence[Beside | None],
    where: str,
) -> Arrangement:
    """The one order, MATLAB's or the stored one, that the axes stored beside an array fit."""
    called, stored = dataset.name.lstrip("/"), tuple(range(dataset.ndim))
    fitting: list[Arrangement] = []
    for order, said_by in ((stored[::-1], "MATLAB's order, which its axes fit"), (stored, None)):
        shape = tuple(dataset.shape[axis] for axis in order)
        try:
            roles = layout(shape)
        except DataError:
            continue
        problem = _time_misfit(shape, time, called) or _space_misfit(roles, shape, space, called)
        if (time or any(space)) and problem is None:
            fitting.append(Arrangement(order, roles, (None,) * len(order), said_by))
    if len(fitting) == 1:
        return fitting[0]
    seen, given = dataset.shape[::-1], [beside.name for beside in (time, *space) if beside is not None]
    told = f"its axes {', '.join(given)} fit {'both' if fitting else 'neither'}" if given else "no axes beside it tell"
    raise DataError(
        f"{where}: {called} is MATLAB's, {seen} there and {dataset.shape} in the file: UPS reads (N, T, X), and {told}"
        " which of the two is that",
        "save the axes beside it, such as t and x: save('FILE', 'data', 't', 'x', '-v7.3'), or"
        f" {naming(called, ('x', 'time', 'sample'))}",
    )


def _time_misfit(shape: tuple[int, ...], time: Beside | None, called: str) -> str | None:
    """What the length of a stored time says against time being the second axis; nothing where it fits no axis."""
    if time is None:
        return None
    fits = time.length in (shape[1], shape[1] + time.reserved)
    elsewhere = [axis for axis, points in enumerate(shape) if points == time.length and axis != 1]
    # names that are not PDEBench's leave it open which of two axes of one length is that of time
    if not elsewhere or (fits and (time.reserved or elsewhere[0] != 0)):
        return None
    instants = _ONE_RUN if elsewhere[0] == 0 else ""
    many = f"{called} {shape}, read as (N, T, ...)"
    return f"{time.name} has {time.length} values, as many as the {_ordinal(elsewhere[0])} of {many}{instants}"


def _space_misfit(
    roles: tuple[Role, ...], shape: tuple[int, ...], space: Sequence[Beside | None], called: str
) -> str | None:
    """What the lengths of stored positions say against an order; nothing where they fit no axis."""
    many = f"{called} {shape}, read as {_order(roles)}"
    given = [beside for beside in space if beside is not None]
    if len(given) > roles.count("space") and sorted(beside.length for beside in given) == sorted(shape[1:]):
        listed = " and ".join(beside.name for beside in given)
        return f"{listed} are axes of {many}{_ONE_RUN}"
    for axis, beside in zip((a for a, role in enumerate(roles) if role == "space"), space, strict=False):
        if beside is not None and beside.length != shape[axis]:
            elsewhere = [other for other, points in enumerate(shape) if points == beside.length]
            if elsewhere:
                return f"{beside.name} has {beside.length} values, as many as the {_ordinal(elsewhere[0])} of {many}"
    return None


def _refuse(where: str, problem: str, remedy: str) -> None:
    """Raise what lengths say against an order."""
    raise DataError(f"{where}: {problem}", f"{_WINDOWS}; of many runs, {remedy}" if _ONE_RUN in problem else remedy)


def _ordinal(axis: int) -> str:
    return f"{('first', 'second', 'third', 'fourth', 'fifth', 'sixth')[axis]} axis"


def _order(roles: Sequence[Role]) -> str:
    letters = iter("XYZ")
    return f"({', '.join(next(letters) if role == 'space' else _LETTERS[role] for role in roles)})"


def _example(roles: Sequence[Role]) -> tuple[str, ...]:
    letters = iter("xyz")
    return tuple(next(letters) if role == "space" else role for role in roles)


def numeric(entry: object) -> h5py.Dataset | None:
    """An entry of a file that is an array of real numbers, else None.

    NetCDF-4 writes an array for a dimension that is a mere name, too, and says so in it.
    """
    if not isinstance(entry, h5py.Dataset) or entry.ndim == 0 or entry.dtype.kind not in "fiu":
        return None
    return None if _NO_VARIABLE in str(entry.attrs.get("NAME")) else entry


def length_of(stored: h5py.Dataset) -> int:
    """Of an axis stored flat, as a column or row, or for every trajectory."""
    if stored.ndim == 1:
        return len(stored)
    return len(flat_axis(stored[()], stored.file.filename, stored.name.lstrip("/")))
