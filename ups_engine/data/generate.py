"""Make the data of a task: solve it and write it in PDEBench's layout, whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

from ups_engine.config.data import DataSettings, GenerateSettings
from ups_engine.data.sources.boundaries import LAYOUT, AxisBoundary, of_task
from ups_engine.data.sources.hdf5 import GENERATED, generated_with
from ups_engine.data.sources.info import FieldSpec, SourceInfo
from ups_engine.data.sources.pdebench import SCALAR, coordinate_names, pdebench_format
from ups_engine.data.tasks import solved_task
from ups_engine.data.tasks.base import SIZES
from ups_engine.discretisation.arrays import Float64
from ups_engine.discretisation.grid import cell_centres
from ups_engine.errors import DataError
from ups_engine.reporting import Advance, Tell
from ups_engine.runs.atomic import fsync

_SMALL_PARTS = 256 * 1024  # room for the axes and what HDF5 writes about them
_GROUP = 1024  # trajectories whose initial conditions are held, and sorted by speed, at a time
_GROUP_VALUES = 2**22  # but no more than so many numbers


def generated_path(task: str, data: DataSettings) -> Path:
    """Where the data of these settings is kept when UPS makes it.

    It has PDEBench's name for a file of the task, with the numbers that tell two generated files apart.

    Raises:
        DataError: UPS has no solver for the task.
        SettingsError: a parameter that the task does not have.
    """
    (made, _), settings = solved_task(task), data.generate
    values = made.values(settings.parameters)
    parameters = "_".join(f"{parameter.written}{values[parameter.name]:.12g}" for parameter in made.parameters)
    name = (
        f"{made.title}_Sols_{parameters}_N{settings.trajectories}_X{settings.points}"
        f"_T{settings.frames}_tend{settings.t_end:.12g}_seed{settings.seed}.hdf5"
    )
    return Path(data.root).expanduser() / "generated" / name


def generated_info(task: str, settings: GenerateSettings, path: Path) -> SourceInfo:
    """What the file of these settings holds, or will hold; `bytes` is what it takes at most. Raises as `make`."""
    made, _ = solved_task(task)
    dt, space = settings.t_end / (settings.frames - 1), (settings.points,) * len(made.axes)
    return SourceInfo(
        format=pdebench_format(len(space)),
        task=task,
        fields=tuple(FieldSpec(name, 1, "float32", made.fields[0].unit) for name in SCALAR),
        trajectories=settings.trajectories,
        frames=settings.frames,
        resolution=space,
        coordinates=tuple(cell_centres(settings.points, axis.extent) for axis in made.axes),
        time=np.arange(settings.frames, dtype=np.float64) * dt,
        dt=dt,
        boundaries=tuple(said or AxisBoundary("open", LAYOUT) for said in of_task(task, len(space))),
        parameters=tuple(made.values(settings.parameters)),
        bytes=4 * settings.trajectories * settings.frames * prod(space) + _SMALL_PARTS,
        files=(path,),
    )


def is_made_with(path: Path, task: str, settings: GenerateSettings) -> bool:
    """Whether a whole file is there that was made with exactly these settings by today's solvers."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            stored = generated_with(file)
    except OSError:
        return False
    return stored == _made_with(task, settings)


def make(
    task: str,
    settings: GenerateSettings,
    path: Path,
    notify: Tell = lambda sentence: None,
    advance: Advance = lambda what, done, total: None,
    *,
    replace: bool = False,
) -> Path:
    """Solve and write `tensor` (N, T, *space), the coordinates of each axis and `t-coordinate` (T + 1), float32.

    The file appears under its name only when it is complete and durable. Rerunning gives the same bytes, so a file
    that is there and was made with exactly these settings is used again.

    Args:
        task: that UPS has a solver for.
        settings: size, time and parameters.
        path: the file to write; its folder is made.
        notify: told what is solved, or that the file is used again.
        advance: told how many trajectories are solved; what it raises stops the work, and nothing is left behind.
        replace: write over another file that is there; else that is refused.

    Returns:
        The path.

    Raises:
        DataError: unknown task, another file in the way, or a disk that is full or not writable.
        SettingsError: a parameter that the task does not have.
    """
    if is_made_with(path, task, settings):
        notify(f"{path} was made earlier with the same parameters and is used again")
        return path
    info, made_with = generated_info(task, settings, path), _made_with(task, settings)
    parameters = "".join(f"{name} = {made_with[name]:g}, " for name in info.parameters)
    notify(
        f"solving {task}: {info.trajectories} trajectories, {'x'.join(map(str, info.resolution))} points,"
        f" {info.frames} frames to t = {settings.t_end:g}, {parameters}seed {settings.seed}"
    )
    if path.exists() and not replace:
        raise DataError(f"{path} exists and is left as it is", "remove it, or write elsewhere with -o")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
    with _atomic_hdf5(path, info.bytes) as file:
        with _writing(path):
            tensor = _lay_out(file, info, made_with)
        for row, trajectory in _solved(task, info, made_with, advance):
            with _writing(path):
                tensor[row] = trajectory
    return path


def _made_with(task: str, settings: GenerateSettings) -> dict[str, Any]:
    """Everything that the file's content depends on; the parameters' names are those of its attributes."""
    made, solver = solved_task(task)
    sizes = {key: getattr(settings, key) for key in SIZES}
    return {"task": task, "solvers": solver.version, **sizes, **made.values(settings.parameters)}


def _lay_out(file: h5py.File, info: SourceInfo, made_with: Mapping[str, Any]) -> h5py.Dataset:
    """Write the attributes and axes, and make room on the disk for the tensor."""
    file.attrs["task"] = info.task
    file.attrs.update({name: made_with[name] for name in info.parameters})
    file.attrs[GENERATED] = json.dumps(made_with, sort_keys=True)
    for name, axis in zip(coordinate_names(len(info.resolution)), info.coordinates, strict=True):
        file[name] = axis.astype(np.float32)
    assert info.dt is not None
    file["t-coordinate"] = (info.dt * np.arange(info.frames + 1)).astype(np.float32)  # PDEBench's is one longer
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    shape = (info.trajectories, info.frames, *info.resolution)
    tensor = file.create_dataset(SCALAR["u"], shape, np.float32, dcpl=early)
    if info.fields[0].unit is not None:
        tensor.attrs["units"] = info.fields[0].unit
    file.flush()
    _reserve(Path(file.filename), tensor.id.get_offset() + tensor.nbytes)
    return tensor


def _solved(
    task: str, info: SourceInfo, made_with: Mapping[str, Any], advance: Advance
) -> Iterator[tuple[int, Float64]]:
    """Every trajectory's number and frames (T, *space), in the order in which the solver finishes them."""
    _, solver = solved_task(task)
    n, parameters, reached = info.trajectories, {name: made_with[name] for name in info.parameters}, 0

    def advanced(trajectories: int) -> None:
        nonlocal reached
        reached += trajectories
        advance(f"solving {task}", round(reached / (info.frames - 1)), n)

    size = max(1, min(_GROUP, _GROUP_VALUES // prod(info.resolution)))
    for start in range(0, n, size):
        group = np.arange(start, min(start + size, n))
        initial = solver.draw(group, made_with["seed"], made_with["points"])
        for rows, block in solver.solve(initial, info.time, advanced=advanced, **parameters):
            yield from zip(group[rows].tolist(), block, strict=True)


@contextmanager
def _atomic_hdf5(path: Path, size: int) -> Iterator[h5py.File]:
    """A new HDF5 file under a hidden temporary name, renamed to its own once it is durable, removed if work fails.

    HDF5 crashes the process at its end when a write meets a full disk. So the room is taken first, by a plain call
    that fails cleanly: `size` bytes before HDF5 sees the file, and again inside it when it is laid out.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with _writing(path):
            _reserve(temporary, size)
            file = h5py.File(temporary, "w", locking=False)
        with file:
            yield file
        with _writing(path):
            fsync(temporary)
            temporary.replace(path)
            fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _reserve(path: Path, size: int) -> None:
    """Make sure that a file's first bytes have room on the disk."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one clear message."""
    try:
        yield
    except (OSError, RuntimeError) as problem:
        raise DataError(
            f"{path} cannot be written: {' '.join(str(problem).split())}",
            "free space there, or choose another folder: data.root, or -o",
        ) from problem


def _remove_leftovers(path: Path) -> None:
    """Remove partial files of processes that were killed while making this one."""
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        owner = leftover.name.rsplit(".", 2)[1]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            leftover.unlink(missing_ok=True)
