"""What the data of a run will be, told by settings and file headers alone: nothing is made, no field value is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ups_engine.config.data import DataSettings
from ups_engine.config.schema import Settings
from ups_engine.data.extent import Grid, strided_frames, strided_grid, time_step
from ups_engine.data.generate.write import generated_bytes, generated_task, is_made_with
from ups_engine.data.locate import find_data, generated_path
from ups_engine.data.sources import open_source
from ups_engine.data.sources.axes import cell_centres
from ups_engine.data.sources.base import FieldSpec, Source, SourceInfo
from ups_engine.data.splits import Splits, choose_splits, draw_splits


@dataclass(frozen=True, eq=False)
class Foreseen:
    """Data as training will see it.

    Attributes:
        source: the files, opened; None where the data is made by UPS.
        info: what the files hold or will hold.
        fields: that are trained on.
        splits: trajectories by use.
        grid: after striding.
        frames: of a trajectory, after striding.
        dt: time between frames, after striding.
        to_make: the file that has to be made first; None where all is there.
    """

    source: Source | None
    info: SourceInfo
    fields: tuple[FieldSpec, ...]
    splits: Splits
    grid: Grid
    frames: int
    dt: float
    to_make: Path | None

    @property
    def channels(self) -> int:
        """Channels of all fields together."""
        return sum(spec.channels for spec in self.fields)


def foresee_data(settings: Settings) -> Foreseen:
    """Look ahead at the data that `prepare_data` would give.

    Raises:
        DataError: missing, unreadable, foreign, or too few trajectories.
        SettingsError: settings that do not go with the data.
    """
    data = settings.data
    files = find_data(data)
    source = open_source(files) if files else None
    if source is not None:
        info, fields = source.info, source.field_specs(data.fields)
        splits = choose_splits(
            source,
            val_fraction=data.val_fraction,
            test_fraction=data.test_fraction,
            seed=settings.seed,
            exclude=data.exclude,
            limit=data.trajectories,
        )
    else:
        info = _generated(data)
        fields = info.fields
        splits = draw_splits(info.trajectories, data.val_fraction, data.test_fraction, settings.seed)
    made = source is not None or is_made_with(info.files[0], data.task, data.generate)
    return Foreseen(
        source=source,
        info=info,
        fields=fields,
        splits=splits,
        grid=strided_grid(info, data.spatial_stride),
        frames=strided_frames(info, data),
        dt=time_step(info, data),
        to_make=None if made else info.files[0],
    )


def _generated(data: DataSettings) -> SourceInfo:
    """What a file that is still to be made will hold."""
    made = data.generate
    dt = made.t_end / (made.frames - 1)
    return SourceInfo(
        format="PDEBench single file, 1-D",
        task=data.task,
        fields=(FieldSpec("u", 1, "float32"),),
        trajectories=made.trajectories,
        frames=made.frames,
        resolution=(made.points,),
        coordinates=(cell_centres(made.points),),
        time=np.arange(made.frames, dtype=np.float64) * dt,
        dt=dt,
        periodic=(True,),
        parameters=(generated_task(data.task).parameter,),
        bytes=generated_bytes(made),
        files=(generated_path(data.task, data),),
    )
