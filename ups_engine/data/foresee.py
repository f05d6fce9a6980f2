"""What the data of a run will be, told by settings and file headers alone: nothing is made, no field value is read."""

from dataclasses import dataclass

import numpy as np

from ups_engine.config.data import DataSettings
from ups_engine.config.schema import Settings
from ups_engine.data.extent import Grid, strided_frames, strided_grid, time_step
from ups_engine.data.generate.write import generated_task
from ups_engine.data.locate import find_data, generated_path
from ups_engine.data.sources import open_source
from ups_engine.data.sources.axes import cell_centres
from ups_engine.data.sources.base import FieldSpec, SourceInfo
from ups_engine.data.splits import choose_splits, draw_splits


@dataclass(frozen=True, eq=False)
class Foreseen:
    """Data as training will see it.

    Attributes:
        grid: after striding.
        frames: of a trajectory, after striding.
    """

    grid: Grid
    frames: int


def foresee_data(settings: Settings) -> Foreseen:
    """Look ahead at the data that `prepare_data` would give.

    Raises:
        DataError: missing, unreadable, foreign, or too few trajectories.
        SettingsError: settings that do not go with the data.
    """
    data = settings.data
    files = find_data(data)
    if files:
        source = open_source(files)
        info = source.info
        source.field_specs(data.fields)
        choose_splits(
            source,
            val_fraction=data.val_fraction,
            test_fraction=data.test_fraction,
            seed=settings.seed,
            exclude=data.exclude,
            limit=data.trajectories,
        )
    else:
        info = _generated(data)
        draw_splits(info.trajectories, data.val_fraction, data.test_fraction, settings.seed)
    time_step(info, data)
    return Foreseen(strided_grid(info, data.spatial_stride), strided_frames(info, data))


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
        bytes=0,
        files=(generated_path(data.task, data),),
    )
