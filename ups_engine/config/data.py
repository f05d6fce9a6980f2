"""Settings of where the fields come from and how their latents are kept."""

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from ups_engine.config.section import Section, Since

BoundaryKind = Literal["periodic", "open", "wall", "dirichlet", "neumann"]
Fraction = Annotated[float, Field(gt=0.0, lt=0.5)]


def _without_unset(entries: object) -> object:
    if not isinstance(entries, Mapping):
        return entries
    return {name: value for name, value in entries.items() if value is not None}


class GenerateSettings(Section):
    """The simulation that stands in when no files are at hand."""

    trajectories: PositiveInt
    """Initial conditions to solve for."""
    points: Annotated[int, Field(ge=16)]
    """Grid points along each axis, of the solver and of the file it writes."""
    frames: Annotated[int, Field(ge=2)]
    """Stored frames, the initial condition included."""
    t_end: PositiveFloat
    """Time of the last frame."""
    parameters: Annotated[Mapping[str, float], BeforeValidator(_without_unset)] = {}
    """Parameters of the PDE by their names; those left out have the task's own defaults."""
    seed: int
    """Seed of the initial conditions; independent of the training seed."""


class BoundarySettings(Section):
    """What lies at the ends of the domain's axes; goes before what files say. `data.boundary = KIND` means all axes."""

    ONE_FOR_ALL: ClassVar[bool] = True

    x: Annotated[BoundaryKind | None, Since(3)] = None
    """Of the first axis. Unset: as the file's attribute `periodic` says, else its name, its task, its layout."""
    y: Annotated[BoundaryKind | None, Since(3)] = None
    """Of the second axis."""
    z: Annotated[BoundaryKind | None, Since(3)] = None
    """Of the third axis."""

    @property
    def kinds(self) -> dict[str, BoundaryKind | None]:
        """By axis."""
        return {"x": self.x, "y": self.y, "z": self.z}


class DataSettings(Section):
    """Which simulations are read, and which part of them."""

    path: str | None = None
    """A file, folder or pattern. Unset: files of `task` under `root`, else data made by `generate`."""
    root: str
    """Folder searched for files of `task`; generated data and the latent cache live here too."""
    task: str
    """The PDE task: names the files searched for and the solver that stands in for them. Has no say where `path` is
    given: runs are named by what the files there say, or `unknown`."""
    fields: tuple[str, ...]
    """Fields to train on, in this order; empty means all that the file holds."""
    patch_size: PositiveInt
    """Grid points along each axis that one latent token covers."""
    spatial_stride: PositiveInt
    """Every n-th grid point along each axis is used."""
    time_stride: PositiveInt
    """Every n-th frame is used; one operator step spans this many frames of the file."""
    frames: Annotated[int, Field(ge=2)] | None = None
    """Frames used of each trajectory after striding; unset means all."""
    trajectories: Annotated[int, Field(ge=3)] | None = None
    """Trajectories used, from the first; unset means all."""
    exclude: tuple[int, ...]
    """Trajectories left out, counted over all files in order; for damaged ones."""
    dt: PositiveFloat | None = None
    """Time between stored frames, for files that do not say; refused where it contradicts the file."""
    val_fraction: Fraction
    """Share of trajectories held out to choose epochs, checkpoints and variants."""
    test_fraction: Fraction
    """Share of trajectories held out for the evaluation."""
    boundary: BoundarySettings = BoundarySettings()
    generate: GenerateSettings


class LatentSettings(Section):
    """The latent representation and its cache."""

    dim: PositiveInt
    """Channels of a latent token."""
    tokens: PositiveInt | None = None
    """Tokens of a field. Follows from the grid and `data.patch_size`; given, it must agree with them."""
    cache_dir: str | None = None
    """Folder of the latent caches; unset means `latent_cache` under `data.root`."""
    cache_dtype: Literal["float32", "float16", "bfloat16"]
    """Number format of cached latents."""
    residency: Literal["auto", "gpu", "ram", "disk", "on_the_fly"]
    """Where latents live while training; auto chooses by what is free and says why. Caches are completed before
    that, with on_the_fly during it: what is missing is encoded and stored when it is first needed."""


def exclusion(rows: Iterable[int], excluded: Iterable[int] = ()) -> str:
    """The option that leaves out these trajectories, and still those that are left out already."""
    return f"--set 'data.exclude=[{','.join(map(str, sorted({*excluded, *rows})))}]'"
