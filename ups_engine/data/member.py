"""One set of trajectories that a run learns from: which of them, how split and scaled, and the one way to read them."""

from collections.abc import Mapping
from typing import Any

from ups_engine.data.normalisation import Normalisation
from ups_engine.data.reader import StridedReader
from ups_engine.data.scaling import ParameterScaling
from ups_engine.data.survey import MemberSurvey
from ups_engine.discretisation.arrays import Float32, Float64, Int64
from ups_engine.errors import DataError, SettingsError


class Member:
    """Trajectories of one task on one discretisation, in physical units, read lazily; made by `prepare_data`.

    Args:
        survey: what is read, its layout and its splits.
        reader: of that.
        normalisation: of the fields.
        scaling: of the PDE's parameters.

    Raises:
        DataError: the files lack a parameter that is to be scaled.
    """

    def __init__(
        self, survey: MemberSurvey, reader: StridedReader, normalisation: Normalisation, scaling: ParameterScaling
    ) -> None:
        self._reader = reader
        self._identity: dict[str, Any] | None = None
        self.source = reader.source
        self.name, self.task = survey.name, survey.task
        self.discretisation, self.dt = survey.discretisation, survey.dt
        self.frames, self.splits = survey.frames, survey.splits
        self.normalisation, self.scaling = normalisation, scaling
        self.specs, self.channels = survey.fields, survey.channels
        self.fields = tuple(spec.name for spec in self.specs)
        self.parameter_names = scaling.names
        known = self.source.info.parameters
        if missing := [name for name in scaling.names if name not in known]:
            raise DataError(f"{self.source.info.files[0].name} does not say the parameter {missing[0]}")
        self._columns = [known.index(name) for name in scaling.names]

    @property
    def resident(self) -> bool:
        """Whether trajectories stay in RAM once read."""
        return self._reader.resident

    def read(self, trajectories: Int64, frames: Int64 | None = None) -> Float32:
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
        return self._reader.read(trajectories, frames)

    def physical_parameters(self, trajectories: Int64) -> Float64:
        """(n, P) PDE parameters as the files say them, columns as in `parameter_names`."""
        return self.source.parameters(trajectories)[:, self._columns]

    def parameters(self, trajectories: Int64) -> Float32:
        """(n, P) PDE parameters as inputs: standardised by the training trajectories (see `ParameterScaling`)."""
        return self.scaling.apply(self.physical_parameters(trajectories))

    def identity(self) -> dict[str, Any]:
        """JSON: names, sizes and content stamps of the files."""
        if self._identity is None:
            self._identity = self.source.identity()
        return self._identity

    def record(self) -> dict[str, Any]:
        """JSON: all that `prepare_data` needs to give the same splits, normalisation and scaling again."""
        return {
            "name": self.name,
            "task": self.task,
            "files": [str(path.resolve()) for path in self.source.info.files],
            "identity": self.identity(),
            "fields": list(self.fields),
            "strides": {"space": self._reader.spatial_stride, "time": self._reader.time_stride},
            "frames": self.frames,
            "discretisation": self.discretisation.to_json(),
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

    def close(self) -> None:
        """Close file handles; the next read opens them again."""
        self.source.close()
