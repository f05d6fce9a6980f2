"""What a run's data will be, told by settings and file headers alone: nothing is made, no field value is read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ups_engine.config.data import DataSettings
from ups_engine.config.schema import Settings
from ups_engine.data.generate import generated_info, generated_path, is_made_with
from ups_engine.data.identity import identity_of, settle
from ups_engine.data.sources import open_source
from ups_engine.data.sources.base import Source
from ups_engine.data.sources.boundaries import AxisBoundary, boundary_sentence, recorded, with_settings
from ups_engine.data.sources.files import expand, find_task
from ups_engine.data.sources.info import FieldSpec, SourceInfo
from ups_engine.data.splits import Splits, choose_splits, parameter_groups
from ups_engine.data.tasks import SOLVED
from ups_engine.discretisation import Discretisation, discretisation_of
from ups_engine.errors import DataError, SettingsError
from ups_engine.formats import require_known
from ups_engine.reporting import Advance

RECORD_VERSION = 4
"""Of a run's data record. Version 1 was the record of the only member, with `grid` for `discretisation` and
`conditioning` for `scaling`; version 2 said of boundaries only which axes of its discretisation are periodic; version
3 knew its files by a stamp of 32 blocks."""
UNKNOWN_TASK = "unknown"
"""The task of files that do not say theirs, neither inside nor by their names."""


@dataclass(frozen=True, eq=False)
class MemberSurvey:
    """A member of the collection as training will see it.

    Attributes:
        name: of the member, unique in its collection.
        task: the PDE, as the files or the record say, else `UNKNOWN_TASK`.
        source: the files, opened; None where the data is made by UPS.
        info: what the files hold or will hold.
        fields: that are trained on.
        splits: trajectories by use.
        discretisation: after striding.
        frames: of a trajectory, after striding.
        dt: time between frames, after striding.
        parameter_names: of the PDE's parameters that the networks are conditioned on.
        to_make: the file that has to be made first; None where all is there.
    """

    name: str
    task: str
    source: Source | None
    info: SourceInfo
    fields: tuple[FieldSpec, ...]
    splits: Splits
    discretisation: Discretisation
    frames: int
    dt: float
    parameter_names: tuple[str, ...]
    to_make: Path | None

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the fields."""
        return tuple(spec.name for spec in self.fields)

    @property
    def channel_units(self) -> tuple[tuple[str, str | None], ...]:
        """Name and, where known, unit of each channel; of a field of several they are numbered."""
        return tuple(
            (spec.name if spec.channels == 1 else f"{spec.name}[{channel}]", spec.unit)
            for spec in self.fields
            for channel in range(spec.channels)
        )

    @property
    def channels(self) -> int:
        """Channels of all fields together."""
        return sum(spec.channels for spec in self.fields)


def survey_data(settings: Settings, record: Mapping[str, Any] | None = None) -> tuple[MemberSurvey, ...]:
    """Look ahead at the members of the collection that `prepare_data` would give for the same settings and record.

    Raises:
        DataError: missing, unreadable, foreign, too few trajectories, or other data than recorded.
        FormatError: the record is a newer UPS's.
        SettingsError: settings that do not go with the data.
    """
    known = (None,) if record is None else recorded_members(record)
    return tuple(survey_member(settings, find_files(settings.data, member), member) for member in known)


def recorded_members(record: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The records of the members in what `Collection.record` gave, now or in an earlier version.

    Raises:
        FormatError: it was written by a newer UPS.
    """
    version = require_known("data record", record.get("version"), RECORD_VERSION, "the run's data.json")
    if version > 2:  # what is new in version 4 takes the files: see `settle`
        return tuple(record["members"])
    if version > 1:
        return tuple(_with_boundaries(member) for member in record["members"])
    renamed = {"grid": "discretisation", "conditioning": "scaling"}
    member = {renamed.get(key, key): value for key, value in record.items() if key != "version"}
    member["discretisation"] = {"kind": "grid", **member["discretisation"]}
    return (_with_boundaries({"name": member["task"], **member}),)


def _with_boundaries(member: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a member before version 3, with the boundaries that its run took."""
    kinds = ("periodic" if wraps else "open" for wraps in member["discretisation"]["periodic"])
    return {**member, "boundaries": [AxisBoundary(kind, "earlier record of the run").to_json() for kind in kinds]}


def survey_member(
    settings: Settings,
    files: Sequence[Path],
    known: Mapping[str, Any] | None,
    advance: Advance = lambda what, done, total: None,
) -> MemberSurvey:
    """Look ahead at a member of which UPS makes the file where there are none; raises as `survey_data`.

    Args:
        settings: of the run.
        files: of the member.
        known: its record, where it has one.
        advance: told how much is hashed of files that are not known yet; may raise to stop that.
    """
    data, source, to_make = settings.data, None, None
    if files:
        source = open_source(files, data.boundary if known is None else _recorded_boundaries(data, known))
        if known is not None:
            _check_identity(source, known, advance)
        info = source.info
    else:
        path = generated_path(data.task, data)
        info = generated_info(data.task, data.generate, path)
        info = replace(info, boundaries=with_settings(info.boundaries, data.boundary))
        to_make = None if is_made_with(path, data.task, data.generate) else path
    discretisation = discretisation_of(info.layout(), data.spatial_stride)
    frames, dt = used_frames(info, data), time_step(info, data)
    if known is not None:
        splits = Splits.from_json(known["splits"])
    elif source is None:
        splits = choose_splits({(None, ()): np.arange(info.trajectories)}, data, settings.seed)
    else:
        splits = choose_splits(parameter_groups(source), data, settings.seed)
    fields = info.field_specs(data.fields)
    if source is not None:
        source.require_present(splits.all(), [spec.name for spec in fields], data.exclude)
    names = info.parameters if known is None else tuple(known["scaling"]["names"])
    if missing := [name for name in names if name not in info.parameters]:
        raise DataError(f"{info.files[0].name} does not say the parameter {missing[0]}")
    # never `data.task` for files that are given: it has a default, which would pass for what they hold
    task = known["task"] if known is not None else info.task or UNKNOWN_TASK
    return MemberSurvey(
        name=task if known is None else known["name"],
        task=task,
        source=source,
        info=info,
        fields=fields,
        splits=splits,
        discretisation=discretisation,
        frames=frames,
        dt=dt,
        parameter_names=names,
        to_make=to_make,
    )


def find_files(data: DataSettings, known: Mapping[str, Any] | None) -> list[Path]:
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
        return expand(data.path)
    root = Path(data.root).expanduser()
    found = find_task(root, data.task)
    if not found and data.task not in SOLVED:
        raise DataError(
            f"no files of task {data.task!r} in {root}, and UPS has no solver for it",
            f"give files with --data PATH or --set data.root=FOLDER; solvers: {', '.join(SOLVED)}",
        )
    return found


def _check_identity(source: Source, known: Mapping[str, Any], advance: Advance) -> None:
    """Make sure that a source is whole, and the one of a member's record.

    Raises:
        DataError: it is not.
    """
    fields = [spec.name for spec in source.info.fields if spec.name in known["fields"]]
    source.require_present(Splits.from_json(known["splits"]).all(), fields)
    settle(source, known["identity"], identity_of(source, advance))


def _recorded_boundaries(data: DataSettings, known: Mapping[str, Any]) -> tuple[AxisBoundary, ...]:
    """The boundaries that a run was made with.

    Raises:
        SettingsError: the settings ask for others.
    """
    boundaries = recorded(known["boundaries"])
    asked = with_settings(boundaries, data.boundary)
    if [ends.kind for ends in asked] != [ends.kind for ends in boundaries]:
        raise SettingsError(
            f"the run was made with boundaries {boundary_sentence(boundaries)}, the settings ask for"
            f" {boundary_sentence(asked)}",
            "use the run's own settings, or start a new run",
        )
    return boundaries


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
