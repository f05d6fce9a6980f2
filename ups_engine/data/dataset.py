"""The data of a run: which files, which part of them, how split and normalised, and the one way to read it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ups_engine.config.schema import Settings
from ups_engine.data.arrays import Float32, Int64
from ups_engine.data.conditioning import Conditioning
from ups_engine.data.extent import Grid, strided_frames, strided_grid, time_step
from ups_engine.data.generate.write import Advance
from ups_engine.data.locate import locate_data
from ups_engine.data.normalisation import Normalisation, fit
from ups_engine.data.reader import StridedReader
from ups_engine.data.sources import open_source
from ups_engine.data.sources.base import Source
from ups_engine.data.splits import Splits, choose_splits, prove_disjoint
from ups_engine.errors import DataError, SettingsError
from ups_engine.telemetry.memory import available_memory

_RECORD_VERSION = 1
_SMALL_BYTES = 256 * 2**20


class FieldDataset:
    """Trajectories of fields on one grid, in physical units, read lazily; made by `prepare_data`."""

    def __init__(
        self,
        reader: StridedReader,
        *,
        task: str,
        grid: Grid,
        dt: float,
        splits: Splits,
        normalisation: Normalisation,
        conditioning: Conditioning,
    ) -> None:
        self._reader = reader
        self._identity: dict[str, Any] | None = None
        self.source = reader.source
        self.task = task
        self.grid = grid
        self.dt = dt
        """Time between frames as read, striding included."""
        self.splits = splits
        self.normalisation = normalisation
        self.conditioning = conditioning
        self.specs = self.source.field_specs(reader.fields)
        self.fields = tuple(spec.name for spec in self.specs)
        self.channels = reader.channels
        self.frames = reader.frames
        self.trajectories = self.source.info.trajectories
        self.parameter_names = conditioning.names

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
            (n, T', *grid.shape, channels).

        Raises:
            DataError: unreadable or non-finite there; names file, trajectory and frame.
        """
        return self._reader.read(trajectories, frames)

    def parameters(self, trajectories: Int64) -> Float32:
        """(n, P) PDE parameters as inputs: standardised by the training trajectories (see `Conditioning`)."""
        return self.conditioning.apply(self.source.parameters(trajectories))

    def identity(self) -> dict[str, Any]:
        """JSON: names, sizes and content stamps of the files."""
        if self._identity is None:
            self._identity = self.source.identity()
        return self._identity

    def record(self) -> dict[str, Any]:
        """JSON: all that `prepare_data` needs to give the same splits, normalisation and conditioning again."""
        return {
            "version": _RECORD_VERSION,
            "task": self.task,
            "files": [str(path.resolve()) for path in self.source.info.files],
            "identity": self.identity(),
            "fields": list(self.fields),
            "strides": {"space": self._reader.spatial_stride, "time": self._reader.time_stride},
            "frames": self.frames,
            "grid": self.grid.to_json(),
            "dt": self.dt,
            "splits": self.splits.to_json(),
            "normalisation": self.normalisation.to_json(),
            "conditioning": self.conditioning.to_json(),
        }

    def close(self) -> None:
        """Close file handles; the next read opens them again."""
        self.source.close()


def prepare_data(
    settings: Settings,
    record: Mapping[str, Any] | None = None,
    notify: Callable[[str], None] = lambda line: None,
    advance: Advance = lambda what, done, total: None,
) -> FieldDataset:
    """Find or make the data that the settings ask for, split it, and measure its normalisation.

    Args:
        settings: `data`, `latent.residency` (`disk` keeps no fields in RAM) and `seed` matter.
        record: what `FieldDataset.record` gave an earlier run: then the same files, splits, normalisation and
            conditioning are used, and nothing is drawn or measured.
        notify: is told in a line what was chosen, made or waited for.
        advance: told (what, done, total) again and again while data is made; may raise to stop that.

    Raises:
        DataError: missing, unreadable, foreign, non-finite, duplicated across splits, or other data than recorded.
        SettingsError: settings that do not go with the data.
    """
    data = settings.data
    source = _open(settings, record, notify, advance)
    info = source.info
    grid, dt, frames = strided_grid(info, data.spatial_stride), time_step(info, data), strided_frames(info, data)
    if record is None:
        splits = choose_splits(
            source,
            val_fraction=data.val_fraction,
            test_fraction=data.test_fraction,
            seed=settings.seed,
            exclude=data.exclude,
            limit=data.trajectories,
        )
        prove_disjoint(source, splits)
    else:
        splits = Splits.from_json(record["splits"])
    reader = StridedReader(
        source,
        fields=[spec.name for spec in source.field_specs(data.fields)],
        spatial_stride=data.spatial_stride,
        time_stride=data.time_stride,
        frames=frames,
        rows=splits.all(),
        memory=memory_for_fields(settings),
        exclude=data.exclude,
    )
    if record is None:
        _read_early(reader, splits)
        normalisation = fit(reader.read, splits.train, frames, reader.stored_frame_bytes)
        conditioning = Conditioning.fit(
            info.parameters, source.parameters(splits.all()), source.parameters(splits.train)
        )
    else:
        normalisation = Normalisation.from_json(record["normalisation"])
        conditioning = Conditioning.from_json(record["conditioning"])
    dataset = FieldDataset(
        reader,
        task=info.task or data.task,
        grid=grid,
        dt=dt,
        splits=splits,
        normalisation=normalisation,
        conditioning=conditioning,
    )
    if record is not None:
        _check_recorded(dataset, record)
    return dataset


def memory_for_fields(settings: Settings) -> int:
    """Bytes of RAM that fields may take: an eighth of what is free, nothing under disk residency."""
    return 0 if settings.latent.residency == "disk" else available_memory().available_bytes // 8


def _open(
    settings: Settings, record: Mapping[str, Any] | None, notify: Callable[[str], None], advance: Advance
) -> Source:
    """Open the recorded files where they still are, else what the settings stand for; check they are the same."""
    if record is None:
        return open_source(locate_data(settings.data, notify, advance))
    files = [Path(name) for name in record["files"]]
    there = all(file.exists() for file in files)
    source = open_source(files if there else locate_data(settings.data, notify, advance))
    if source.identity() != record["identity"]:
        raise DataError(
            f"{', '.join(file.name for file in files[:3])}: not the data that this run was made with",
            "its content changed, or it was moved and other files took its place; put it back or start a new run",
        )
    return source


def _read_early(reader: StridedReader, splits: Splits) -> None:
    """Read data that is small through once, so that a bad value stops a run before training and not in its evaluation.

    Larger data is checked as it is read.
    """
    if reader.source.info.bytes <= _SMALL_BYTES:
        for row in splits.all():
            reader.read(np.array([row]))


def _check_recorded(dataset: FieldDataset, record: Mapping[str, Any]) -> None:
    """Refuse settings that would read recorded data differently from how the run was trained."""
    now = dataset.record()
    for key in ("fields", "strides", "frames", "dt"):
        if now[key] != record[key]:
            raise SettingsError(
                f"the run was made with data {key} {record[key]}, the settings ask for {now[key]}",
                "use the run's own settings, or start a new run",
            )
