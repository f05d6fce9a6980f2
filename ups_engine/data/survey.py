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
from ups_engine.data.splits import Splits, choose_splits, foretell_splits
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
    data, source, to_make = settings.data, None, None
    if files := find_files(data, known):
        source = open_source(files)
        if known is not None:
            check_identity(source, known)
        info = source.info
    else:
        path = generated_path(data.task, data)
        info = generated_info(data.task, data.generate, path)
        to_make = None if is_made_with(path, data.task, data.generate) else path
    if known is not None:
        splits = Splits.from_json(known["splits"])
    elif source is not None:
        splits = choose_splits(source, data, settings.seed)
    else:
        splits = foretell_splits(info.trajectories, data, settings.seed)
    return MemberSurvey(
        name=info.task or data.task if known is None else known["name"],
        source=source,
        info=info,
        fields=info.field_specs(data.fields),
        splits=splits,
        discretisation=discretisation_of(info.layout(), data.spatial_stride),
        frames=used_frames(info, data),
        dt=time_step(info, data),
        parameter_names=info.parameters if known is None else tuple(known["scaling"]["names"]),
        to_make=to_make,
    )
