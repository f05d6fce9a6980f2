"""Solve a task and write it in PDEBench's layout, whole or not at all."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import psutil

from ups_engine.config.data import GenerateSettings
from ups_engine.data.arrays import Float64, Int64
from ups_engine.data.generate import advection, burgers
from ups_engine.data.generate.initial import draw_initial_conditions
from ups_engine.data.sources.axes import cell_centres
from ups_engine.errors import DataError

Solver = Callable[[Float64, Float64, float, Callable[[int], None]], Iterator[tuple[Int64, Float64]]]
Progress = Callable[[float], None]
"""Told the finished share, from 0 to 1; may raise to stop."""
Advance = Callable[[str, int, int], None]
"""Told (what, done, total) of work that takes a while; may raise to stop it."""

_ATTRIBUTE = "ups_generate"
_SOLVERS_VERSION = 1  # raise when a solver's output changes, so that files of the earlier one are made again
_SMALL_PARTS = 256 * 1024  # room for the axes and what HDF5 writes about them
_GROUP = 1024  # trajectories whose initial conditions are held, and sorted by speed, at a time


@dataclass(frozen=True)
class GeneratedTask:
    """A PDE that UPS solves itself."""

    name: str
    parameter: Literal["nu", "beta"]
    title: str
    """How PDEBench's file names begin."""
    solve: Solver

    def value(self, settings: GenerateSettings) -> float:
        """The PDE's parameter."""
        value: float = getattr(settings, self.parameter)
        return value

    def parameters(self, settings: GenerateSettings) -> dict[str, Any]:
        """Everything that the file's content depends on."""
        used = ("trajectories", "points", "frames", "t_end", "seed", self.parameter)
        return {
            "task": self.name,
            "solvers": _SOLVERS_VERSION,
            **{key: value for key, value in settings.model_dump().items() if key in used},
        }

    def file_name(self, settings: GenerateSettings) -> str:
        """PDEBench's name, with the numbers that tell two generated files apart."""
        return (
            f"{self.title}{self.value(settings):.12g}_N{settings.trajectories}_X{settings.points}"
            f"_T{settings.frames}_tend{settings.t_end:.12g}_seed{settings.seed}.hdf5"
        )


TASKS = {
    task.name: task
    for task in (
        GeneratedTask("burgers1d", "nu", "1D_Burgers_Sols_Nu", burgers.solve),
        GeneratedTask("advection1d", "beta", "1D_Advection_Sols_beta", advection.solve),
    )
}


def generated_task(name: str) -> GeneratedTask:
    """The task of this name.

    Raises:
        DataError: UPS has no solver for it.
    """
    if name not in TASKS:
        raise DataError(f"UPS has no solver for task {name!r}", f"it can make {' and '.join(sorted(TASKS))}")
    return TASKS[name]


def generated_bytes(settings: GenerateSettings) -> int:
    """Room on the disk that the file of these settings takes, at most."""
    return 4 * settings.trajectories * settings.frames * settings.points + _SMALL_PARTS


def make_or_reuse(
    task: str,
    settings: GenerateSettings,
    path: Path,
    notify: Callable[[str], None],
    advance: Advance = lambda what, done, total: None,
    *,
    replace: bool = False,
) -> Path:
    """The file at a path, if it was made with exactly these parameters; else it is made now.

    Args:
        task: a key of `TASKS`.
        settings: size, time and parameters.
        path: the file.
        notify: is told what happens.
        advance: told (what, done, total) again and again; what it raises stops the work, and nothing is left behind.
        replace: whether a file of other parameters may be written over.

    Raises:
        DataError: as `make`.
    """
    generator = generated_task(task)
    if is_made_with(path, task, settings):
        notify(f"{path} was made earlier with the same parameters and is used again")
        return path
    notify(
        f"solving {task}: {settings.trajectories} trajectories, {settings.points} points, {settings.frames} frames"
        f" to t = {settings.t_end:g}, {generator.parameter} = {generator.value(settings):g}, seed {settings.seed}"
    )

    def progress(share: float) -> None:
        advance(f"solving {task}", round(share * settings.trajectories), settings.trajectories)

    return make(task, settings, path, progress, replace=replace)


def is_made_with(path: Path, task: str, settings: GenerateSettings) -> bool:
    """Whether a whole file is there that was made with exactly these parameters by today's solvers."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            stored = json.loads(file.attrs[_ATTRIBUTE])
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return bool(stored == generated_task(task).parameters(settings))


def make(
    task: str,
    settings: GenerateSettings,
    path: Path,
    progress: Progress = lambda share: None,
    *,
    replace: bool = False,
) -> Path:
    """Solve and write `tensor` (N, T, X), `x-coordinate` (X) and `t-coordinate` (T + 1), float32.

    The file appears under its name only when it is complete and durable. Rerunning gives the same bytes.

    Args:
        task: a key of `TASKS`.
        settings: size, time and parameters.
        path: the file to write; its folder is made.
        progress: told the finished share; an exception from it stops the work and leaves nothing behind.
        replace: write over a file that is there; else that is refused.

    Returns:
        The path.

    Raises:
        DataError: unknown task, a file in the way, or a disk that is full or not writable.
    """
    generator = generated_task(task)
    if path.exists() and not replace:
        raise DataError(f"{path} exists and is left as it is", "remove it, or write elsewhere with -o")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
    with _atomic_hdf5(path, generated_bytes(settings)) as file:
        with _writing(path):
            tensor = _lay_out(file, generator, settings)
        for row, trajectory in _solved(generator, settings, progress):
            with _writing(path):
                tensor[row] = trajectory
    return path


def _lay_out(file: h5py.File, generator: GeneratedTask, settings: GenerateSettings) -> h5py.Dataset:
    """Write the attributes and axes, and make room on the disk for the tensor."""
    file.attrs["task"] = generator.name
    file.attrs[generator.parameter] = generator.value(settings)
    file.attrs[_ATTRIBUTE] = json.dumps(generator.parameters(settings), sort_keys=True)
    file["x-coordinate"] = cell_centres(settings.points).astype(np.float32)
    file["t-coordinate"] = _times(settings).astype(np.float32)
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    shape = (settings.trajectories, settings.frames, settings.points)
    tensor = file.create_dataset("tensor", shape, np.float32, dcpl=early)
    file.flush()
    _reserve(Path(file.filename), tensor.id.get_offset() + tensor.nbytes)
    return tensor


def _times(settings: GenerateSettings) -> Float64:
    """(frames + 1,) times: PDEBench's axis is one longer than the frames."""
    return settings.t_end / (settings.frames - 1) * np.arange(settings.frames + 1, dtype=np.float64)


def _solved(generator: GeneratedTask, settings: GenerateSettings, progress: Progress) -> Iterator[tuple[int, Float64]]:
    """Every trajectory's number and frames (T, X), in the order in which the solver finishes them."""
    n, times, x = settings.trajectories, _times(settings)[:-1], cell_centres(settings.points)
    done = 0

    def advanced(trajectories: int) -> None:
        nonlocal done
        done += trajectories
        progress(done / (n * (settings.frames - 1)))

    for start in range(0, n, _GROUP):
        group = np.arange(start, min(start + _GROUP, n))
        initial = draw_initial_conditions(group, settings.seed)(x)
        for rows, block in generator.solve(initial, times, generator.value(settings), advanced):
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
            _make_durable(temporary)
            temporary.replace(path)
            _make_durable(path.parent)
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


def _make_durable(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(path: Path) -> None:
    """Remove partial files of processes that were killed while making this one."""
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        owner = leftover.name.rsplit(".", 2)[1]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            leftover.unlink(missing_ok=True)
