"""One set of trajectories that a run learns from: which of them, how split and scaled, and the one way to read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ups_engine.data.identity import Identity, identity_of, settle
from ups_engine.data.normalisation import Normalisation
from ups_engine.data.reader import StridedReader
from ups_engine.data.scaling import ParameterScaling
from ups_engine.data.sources.base import Source
from ups_engine.data.survey import MemberSurvey
from ups_engine.discretisation.arrays import Float32, Float64, Int64, Values
from ups_engine.errors import SettingsError


@dataclass(frozen=True, eq=False)
class Member(MemberSurvey):
    """Trajectories of one task on one discretisation, in physical units, read lazily; made by `prepare_data`.

    Attributes:
        source: the files, opened.
        reader: of what was surveyed.
        normalisation: of the fields.
        scaling: of the PDE's parameters.
        identity: of the files, see `identity_of`.
    """

    source: Source
    reader: StridedReader
    normalisation: Normalisation
    scaling: ParameterScaling
    identity: Identity

    def read(self, trajectories: Int64, frames: Int64 | None = None) -> Values:
        """Fields in physical units.

        Args:
            trajectories: (n,) numbers in the source, as `splits` holds them.
            frames: None for all, (T',) for the same frames of each, or (n, T') for each its own; counted after
                striding.

        Returns:
            (n, T', *discretisation.shape, channels).

        Raises:
            DataError: unreadable or non-finite there; names file, trajectory and frame.
        """
        return self.reader.read(trajectories, frames)

    def physical_parameters(self, trajectories: Int64) -> Float64:
        """(n, P) PDE parameters as the files say them, columns as in `parameter_names`."""
        columns = [self.info.parameters.index(name) for name in self.parameter_names]
        return self.source.parameters(trajectories)[:, columns]

    def parameters(self, trajectories: Int64) -> Float32:
        """(n, P) PDE parameters as inputs: standardised by the training trajectories (see `ParameterScaling`)."""
        return self.scaling.apply(self.physical_parameters(trajectories))

    def require_unchanged(self) -> None:
        """Make sure that the files still are what they were when this member was prepared.

        Raises:
            DataError: they are not.
        """
        settle(self.source, self.identity, identity_of(self.source))

    def record(self) -> dict[str, Any]:
        """JSON: all that `prepare_data` needs to give the same splits, normalisation and scaling again."""
        return {
            "name": self.name,
            "task": self.task,
            "files": [str(path.resolve()) for path in self.info.files],
            "identity": self.identity,
            "fields": list(self.field_names),
            "strides": {"space": self.reader.spatial_stride, "time": self.reader.time_stride},
            "frames": self.frames,
            "discretisation": self.discretisation.to_json(),
            "boundaries": [boundary.to_json() for boundary in self.info.boundaries],
            "dt": self.dt,
            "splits": self.splits.to_json(),
            "normalisation": self.normalisation.to_json(),
            "scaling": self.scaling.to_json(),
        }

    def check_read_as(self, record: Mapping[str, Any]) -> None:
        """Make sure that recorded data is read as it was when the record was made.

        Raises:
            SettingsError: the settings ask for something else; names it.
        """
        now = self.record()
        for key in ("fields", "strides", "frames", "dt"):
            if now[key] != record[key]:
                raise SettingsError(
                    f"the run was made with data {key} {record[key]}, the settings ask for {now[key]}",
                    "use the run's own settings, or start a new run",
                )
