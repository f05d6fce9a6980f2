"""PDEBench's single-file layout, as downloaded, and as UPS writes what it solves itself.

`tensor` (N, T, *space) on one to three axes, or `density`, `pressure`, `Vx` each (N, T, X), with `x-coordinate` (X),
`y-coordinate` (Y), `z-coordinate` (Z) as far as there are axes, and `t-coordinate` (T + 1).
"""

import h5py

from ups_engine.data.sources.array import FieldArray, Stored, as_read, decoded, how_read
from ups_engine.data.sources.axes import space_axis, time_axis
from ups_engine.data.sources.boundaries import of_file
from ups_engine.data.sources.dimensions import Arrangement, Beside, Role, arrange, length_of, numeric
from ups_engine.data.sources.files import parse_name
from ups_engine.data.sources.hdf5 import Hdf5Source, text_attribute
from ups_engine.data.sources.info import FieldSpec, SourceInfo
from ups_engine.discretisation.sample import AXES
from ups_engine.errors import DataError

SCALAR = {"u": "tensor"}
_FLOW = {"density": "density", "pressure": "pressure", "Vx": "Vx"}


def pdebench_format(axes: int) -> str:
    """The layout in words."""
    return f"PDEBench single file, {axes}-D"


def coordinate_names(axes: int) -> tuple[str, ...]:
    """Datasets that hold the positions along each axis."""
    return tuple(f"{axis}-coordinate" for axis in AXES[:axes])


class PdebenchSource(Hdf5Source):
    """Burgers, Advection, reaction-diffusion, heat (field `u`) and one-dimensional compressible flow."""

    @classmethod
    def matches(cls, file: h5py.File) -> bool:
        """See `Hdf5Source.matches`."""
        names = _field_datasets(file)
        if not names or "nu" in file:  # 2D_DarcyFlow: `nu` is its input, and its time means nothing
            return False
        dimensions = {file[name].ndim for name in names.values()}
        axes = dimensions.pop() - 2
        return (
            not dimensions
            and 1 <= axes <= (len(AXES) if names == SCALAR else 1)
            and all(isinstance(file.get(name), h5py.Dataset) for name in (*coordinate_names(axes), "t-coordinate"))
            and all(file[name].dtype.kind in "fiu" for name in names.values())
        )

    def describe(self, file: h5py.File) -> tuple[SourceInfo, dict[str, Stored]]:
        """See `Hdf5Source.describe`."""
        datasets, name, where = _field_datasets(file), parse_name(self.path), self.path.name
        shapes = {file[dataset].shape for dataset in datasets.values()}
        if len(shapes) > 1:
            raise DataError(f"{where}: its fields differ in shape: {sorted(shapes)}")
        shape = shapes.pop()
        if not all(shape):
            raise DataError(f"{where} is empty: shape {shape}")
        found = _arrangement(file, datasets, where)
        trajectories, frames, *resolution = (shape[axis] for axis in found.order)
        time, dt = time_axis(decoded(file["t-coordinate"]), frames, where)
        task, names = text_attribute(file, "task") or name.task, coordinate_names(len(resolution))
        axes = [space_axis(decoded(file[axis]), n, where, axis) for axis, n in zip(names, resolution, strict=True)]
        units = tuple(text_attribute(file[axis], "units", "unit") for axis in names)
        falling = tuple(2 + axis for axis, (_, falls) in enumerate(axes) if falls)
        stored = {field: Stored(dataset, found.order, falling) for field, dataset in datasets.items()}
        arrays = [FieldArray(file[place.dataset], place) for place in stored.values()]
        # PDEBench stores only periodic tasks as a `tensor` on one axis
        convention = "periodic" if datasets == SCALAR and len(resolution) == 1 else "open"
        info = SourceInfo(
            format=pdebench_format(len(resolution)) + as_read(found, arrays),
            task=task,
            fields=tuple(
                FieldSpec(field, 1, array.dtype, text_attribute(array.dataset, "units", "unit"))
                for field, array in zip(stored, arrays, strict=True)
            ),
            trajectories=trajectories,
            frames=frames,
            resolution=tuple(resolution),
            coordinates=tuple(positions for positions, _ in axes),
            time=time,
            dt=dt,
            boundaries=of_file(file, name, task, len(resolution), convention=convention, where=where),
            axis_units=units if any(units) else (),
            time_unit=text_attribute(file["t-coordinate"], "units", "unit"),
            notes=tuple(how_read(found, arrays)),
        )
        return info, stored


def _arrangement(file: h5py.File, datasets: dict[str, str], where: str) -> Arrangement:
    """The axes of the fields, which have to be the same for all of them."""

    def layout(shape: tuple[int, ...]) -> tuple[Role, ...]:
        space: list[Role] = ["space"] * (len(shape) - 2)
        return ("sample", "time", *space)

    times = Beside("t-coordinate", length_of(file["t-coordinate"]), reserved=True)
    places = [
        Beside(axis, length_of(stored), reserved=True)
        for axis in coordinate_names(len(AXES))
        if (stored := numeric(file.get(axis))) is not None
    ]
    found = [arrange(file[dataset], layout, times, places, where) for dataset in datasets.values()]
    if any(other.order != found[0].order or "channel" in other.roles for other in found):
        raise DataError(
            f"{where}: the axes of {', '.join(datasets.values())} are not named alike, or one is called channels",
            "write each as (N, T, X), with axes named alike",
        )
    return found[0]


def _field_datasets(file: h5py.File) -> dict[str, str]:
    """Dataset by field name, of the family of fields that the file holds; empty for neither."""
    for family in (SCALAR, _FLOW):
        if all(isinstance(file.get(name), h5py.Dataset) for name in family.values()):
            return family
    return {}
