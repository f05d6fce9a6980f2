"""The way of a run's data, from settings to members: each step hands its value to the next, from top to bottom.

Find or make the files; open them; see from the first sample how they are laid out; count frames and the time between
them; split; read; measure normalisation and scaling. `survey` goes the first half of the way, on headers alone.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ups_engine.config.data import DataSettings
from ups_engine.config.schema import Settings
from ups_engine.data.collection import Collection, recorded_members
from ups_engine.data.generate import generated_path, make_or_reuse
from ups_engine.data.member import Member
from ups_engine.data.normalisation import Normalisation, fit
from ups_engine.data.reader import StridedReader
from ups_engine.data.scaling import ParameterScaling
from ups_engine.data.sources import open_source
from ups_engine.data.sources.base import Source, SourceInfo
from ups_engine.data.sources.files import expand, find_task, of_task
from ups_engine.data.splits import Splits, choose_splits, prove_disjoint
from ups_engine.data.tasks import SOLVED
from ups_engine.discretisation import Discretisation, discretisation_of
from ups_engine.discretisation.sample import validate_sample
from ups_engine.errors import DataError, SettingsError
from ups_engine.reporting import Advance, Tell
from ups_engine.telemetry.memory import available_memory

_SMALL_BYTES = 256 * 2**20


def prepare_data(
    settings: Settings,
    record: Mapping[str, Any] | None = None,
    notify: Tell = lambda sentence: None,
    advance: Advance = lambda what, done, total: None,
) -> Collection:
    """Find or make the data that the settings ask for, split it, and measure its normalisation.

    Args:
        settings: `data`, `latent.residency` (`disk` keeps no fields in RAM) and `seed` matter.
        record: what `Collection.record` gave an earlier run, now or in an earlier version: then the same files, splits,
            normalisation and scaling are used, and nothing is drawn or measured.
        notify: is told in a line what was chosen, made or waited for.
        advance: told again and again while data is made; may raise to stop that.

    Raises:
        DataError: missing, unreadable, foreign, non-finite, duplicated across splits, or other data than recorded.
        FormatError: the record is a newer UPS's.
        SettingsError: settings that do not go with the data.
    """
    known = (None,) if record is None else recorded_members(record)
    return Collection([_member(settings, member, notify, advance) for member in known])


def _member(settings: Settings, known: Mapping[str, Any] | None, notify: Tell, advance: Advance) -> Member:
    """A member of the collection: as its record says, or new."""
    data = settings.data
    source = open_source(_found_or_made(data, known, notify, advance))
    if known is not None:
        check_identity(source, known)
    discretisation = _sampled_layout(source, data)
    frames, dt = used_frames(source.info, data), time_step(source.info, data)
    if known is None:
        splits = choose_splits(source, data, settings.seed)
        prove_disjoint(source, splits)
    else:
        splits = Splits.from_json(known["splits"])
    reader = StridedReader(
        source,
        fields=[spec.name for spec in source.info.field_specs(data.fields)],
        spatial_stride=data.spatial_stride,
        time_stride=data.time_stride,
        frames=frames,
        rows=splits.all(),
        memory=memory_for_fields(settings),
        exclude=data.exclude,
    )
    if known is None:
        _read_early(reader, splits)
        normalisation = fit(reader.read, splits.train, frames, reader.stored_frame_bytes)
        parameters = source.parameters(splits.all()), source.parameters(splits.train)
        scaling = ParameterScaling.fit(source.info.parameters, *parameters)
    else:
        normalisation = Normalisation.from_json(known["normalisation"])
        scaling = ParameterScaling.from_json(known["scaling"])
    task = source.info.task or data.task
    member = Member(
        reader,
        name=task if known is None else known["name"],
        task=task,
        discretisation=discretisation,
        dt=dt,
        splits=splits,
        normalisation=normalisation,
        scaling=scaling,
    )
    if known is not None:
        member.check_read_as(known)
    return member


def find_files(data: DataSettings, known: Mapping[str, Any] | None = None) -> list[Path]:
    """The files that are there already for these settings; none where UPS would make them.

    Args:
        data: `path` counts first, then files of `task` under `root`.
        known: record of a member: its files go before the settings', where they still are.

    Raises:
        DataError: nothing there, and no solver for the task.
    """
    if known is not None and all(Path(name).exists() for name in known["files"]):
        return [Path(name) for name in known["files"]]
    if data.path is not None:
        return of_task(expand(data.path), data.task)
    root = Path(data.root).expanduser()
    found = find_task(root, data.task)
    if not found and data.task not in SOLVED:
        raise DataError(
            f"no files of task {data.task!r} in {root}, and UPS has no solver for it",
            f"give files with --data PATH or --set data.root=FOLDER; solvers: {', '.join(SOLVED)}",
        )
    return found


def _found_or_made(data: DataSettings, known: Mapping[str, Any] | None, notify: Tell, advance: Advance) -> list[Path]:
    """The files that are there, else those that are made now; says which, where neither user nor record did."""
    found = find_files(data, known)
    if not found:
        path = generated_path(data.task, data)
        return [make_or_reuse(data.task, data.generate, path, notify, advance, replace=True)]
    if data.path is None and (known is None or known["files"] != [str(path) for path in found]):
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        notify(f"data of {data.task}: {found[0]}{others}")
    return found


def check_identity(source: Source, known: Mapping[str, Any]) -> None:
    """Make sure that a source is the one of a member's record.

    Raises:
        DataError: it is not.
    """
    if source.identity() != known["identity"]:
        names = [Path(name).name for name in known["files"]]
        raise DataError(
            f"{', '.join(names[:3])}: not the data that this run was made with",
            "its content changed, or it was moved and other files took its place; put it back or start a new run",
        )


def _sampled_layout(source: Source, data: DataSettings) -> Discretisation:
    """How the data is laid out, by its first sample, which must be well formed.

    Raises:
        DataError: it is not; says where and how to leave it out.
        SettingsError: a stride that does not go with it.
    """
    first = next((row for row in range(source.info.trajectories) if row not in data.exclude), 0)
    sample = source.sample(first, 0)
    try:
        validate_sample(sample)
    except DataError as problem:
        path, number = source.locate(first)
        left_out = ",".join(map(str, sorted({*data.exclude, first})))
        raise DataError(
            f"{path}, trajectory {number}, frame 0: {problem.message}",
            f"leave it out with --set 'data.exclude=[{left_out}]'",
        ) from problem
    return discretisation_of(sample, data.spatial_stride)


def used_frames(info: SourceInfo, data: DataSettings) -> int:
    """Frames of a trajectory that are used.

    Raises:
        DataError: a single frame.
        SettingsError: a stride or a number of frames that the file cannot give.
    """
    if info.frames < 2:
        raise DataError(f"{info.files[0].name} holds no time series: {info.frames} frame(s) a trajectory")
    available = -(-info.frames // data.time_stride)
    if available < 2:
        raise SettingsError(f"data.time_stride = {data.time_stride} leaves fewer than 2 of {info.frames} frames")
    if data.frames is not None and data.frames > available:
        raise SettingsError(
            f"data.frames = {data.frames}, but the data has {available} frames at data.time_stride = {data.time_stride}"
        )
    return data.frames or available


def time_step(info: SourceInfo, data: DataSettings) -> float:
    """Time between frames after striding.

    Raises:
        SettingsError: neither the file nor the settings say it, or they contradict each other.
    """
    if info.dt is None and data.dt is None:
        raise SettingsError(
            f"{info.files[0].name} does not say the time between its frames", "give it with --set data.dt=..."
        )
    if info.dt is not None and data.dt is not None and not math.isclose(info.dt, data.dt, rel_tol=1e-4):
        raise SettingsError(
            f"data.dt = {data.dt:g}, but {info.files[0].name} says {info.dt:g}",
            "leave data.dt out; a longer step is data.time_stride",
        )
    step = info.dt if info.dt is not None else data.dt
    assert step is not None
    return step * data.time_stride


def memory_for_fields(settings: Settings) -> int:
    """Bytes of RAM that fields may take: an eighth of what is free, nothing under disk residency."""
    return 0 if settings.latent.residency == "disk" else available_memory().available_bytes // 8


def _read_early(reader: StridedReader, splits: Splits) -> None:
    """Read data that is small through once, so that a bad value stops a run before training and not in its evaluation.

    Larger data is checked as it is read.
    """
    if reader.source.info.bytes <= _SMALL_BYTES:
        for row in splits.all():
            reader.read(np.array([row]))
