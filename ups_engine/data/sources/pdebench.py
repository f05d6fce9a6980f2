"""PDEBench's one-dimensional single-file layout, as downloaded.

`tensor` (N, T, X), or `density`, `pressure`, `Vx` each (N, T, X), with `x-coordinate` (X) and `t-coordinate` (T + 1).
"""

import h5py

from ups_engine.data.sources.axes import space_axis, time_axis
from ups_engine.data.sources.base import FieldSpec, SourceInfo
from ups_engine.data.sources.hdf5 import Hdf5Source, text_attribute
from ups_engine.data.sources.names import parse_name
from ups_engine.errors import DataError

_SCALAR = {"u": "tensor"}
_FLOW = {"density": "density", "pressure": "pressure", "Vx": "Vx"}


class PdebenchSource(Hdf5Source):
    """Burgers, Advection, reaction-diffusion (field `u`) and one-dimensional compressible flow."""

    FORMAT = "PDEBench single file, 1-D"

    @classmethod
    def matches(cls, file: h5py.File) -> bool:
        """See `Hdf5Source.matches`."""
        names = _field_datasets(file)
        return (
            bool(names)
            and all(isinstance(file.get(name), h5py.Dataset) for name in ("x-coordinate", "t-coordinate"))
            and all(file[name].ndim == 3 and file[name].dtype.kind == "f" for name in names.values())
        )

    def describe(self, file: h5py.File) -> tuple[SourceInfo, dict[str, str]]:
        """See `Hdf5Source.describe`."""
        datasets, name, where = _field_datasets(file), parse_name(self.path), self.path.name
        shapes = {file[dataset].shape for dataset in datasets.values()}
        if len(shapes) > 1:
            raise DataError(f"{where}: its fields differ in shape: {sorted(shapes)}")
        trajectories, frames, points = shapes.pop()
        if not (trajectories and frames and points):
            raise DataError(f"{where} is empty: shape {(trajectories, frames, points)}")
        time, dt = time_axis(file["t-coordinate"][()], frames, where)
        # the only single-channel 1-D tasks PDEBench stores this way are periodic, whatever the file is called now
        periodic = name.periodic if name.periodic is not None else datasets == _SCALAR
        info = SourceInfo(
            format=self.FORMAT,
            task=text_attribute(file, "task") or name.task,
            fields=tuple(
                FieldSpec(field, 1, str(file[dataset].dtype), text_attribute(file[dataset], "units", "unit"))
                for field, dataset in datasets.items()
            ),
            trajectories=trajectories,
            frames=frames,
            resolution=(points,),
            coordinates=(space_axis(file["x-coordinate"][()], points, where, "x-coordinate"),),
            time=time,
            dt=dt,
            periodic=(periodic,),
            parameters=(),
            bytes=self.path.stat().st_size,
            files=(self.path,),
            split=name.split,
        )
        return info, datasets


def _field_datasets(file: h5py.File) -> dict[str, str]:
    """Dataset by field name, of the family of fields that the file holds; empty for neither."""
    for family in (_SCALAR, _FLOW):
        if all(isinstance(file.get(name), h5py.Dataset) for name in family.values()):
            return family
    return {}
