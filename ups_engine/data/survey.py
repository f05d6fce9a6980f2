"""What a run's data will be, told by settings and file headers alone: nothing is made, no field value is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ups_engine.config.schema import Settings
from ups_engine.data.collection import recorded_members
from ups_engine.data.generate import generated_info, generated_path, is_made_with
from ups_engine.data.prepare import check_identity, find_files, time_step, used_frames
from ups_engine.data.sources import open_source
from ups_engine.data.sources.base import FieldSpec, Source, SourceInfo
from ups_engine.data.splits import Splits, choose_splits, draw_splits
from ups_engine.discretisation import Discretisation, discretisation_of


@dataclass(frozen=True, eq=False)
class MemberSurvey:
    """A member of the collection as training will see it.

    Attributes:
        name: of the member.
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
    return tuple(_survey(settings, member) for member in known)


def _survey(settings: Settings, known: Mapping[str, Any] | None) -> MemberSurvey:
    data = settings.data
    if files := find_files(data, known):
        source = open_source(files)
        if known is not None:
            check_identity(source, known)
        return survey_source(source, settings, known)
    path = generated_path(data.task, data)
    info = generated_info(data.task, data.generate, path)
    drawn = draw_splits(info.trajectories, data.val_fraction, data.test_fraction, settings.seed)
    made = is_made_with(path, data.task, data.generate)
    return _told(info, info.fields, drawn, settings, known, to_make=None if made else path)


def survey_source(source: Source, settings: Settings, known: Mapping[str, Any] | None = None) -> MemberSurvey:
    """What opened files will be under the settings, and the member's record if there is one; raises likewise."""
    fields = source.field_specs(settings.data.fields)
    splits = choose_splits(source, settings.data, settings.seed) if known is None else Splits.from_json(known["splits"])
    return _told(source.info, fields, splits, settings, known, source=source)


def _told(
    info: SourceInfo,
    fields: tuple[FieldSpec, ...],
    splits: Splits,
    settings: Settings,
    known: Mapping[str, Any] | None,
    *,
    source: Source | None = None,
    to_make: Path | None = None,
) -> MemberSurvey:
    data = settings.data
    return MemberSurvey(
        name=known["name"] if known is not None else info.task or data.task,
        source=source,
        info=info,
        fields=fields,
        splits=splits,
        discretisation=discretisation_of(info.layout(), data.spatial_stride),
        frames=used_frames(info, data),
        dt=time_step(info, data),
        parameter_names=tuple(known["scaling"]["names"]) if known is not None else info.parameters,
        to_make=to_make,
    )
