"""What a declaration of a PDE says. Each task is one file beside this one; its neighbours are the examples."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ups_engine.config.data import BoundaryKind
from ups_engine.data.solvers import cache_blocks
from ups_engine.discretisation.arrays import Float64, Int64
from ups_engine.errors import SettingsError

Symmetry = Literal["shift", "reflection", "exchange", "offset", "scaling"]
"""Maps that take solutions to solutions: moved by any distance along a periodic axis; mirrored along an axis, with the
signs that fields declare; axes exchanged; a constant added; multiplied by a constant."""

SIZES = ("trajectories", "points", "frames", "t_end", "seed")
RESERVED = ("task", "solvers", *SIZES)
"""What else the content of a generated file depends on beside the PDE's parameters, which may not be called so."""


@dataclass(frozen=True)
class Field:
    """A field of the state.

    Attributes:
        name: as sources call it.
        unit: None where the PDE is written without units.
        reflected: sign that it takes when an axis is mirrored, per axis; -1 for the component of a vector along it.
    """

    name: str
    unit: str | None = None
    reflected: tuple[Literal[1, -1], ...] = (1,)


@dataclass(frozen=True)
class Parameter:
    """A coefficient of the PDE, on which networks are conditioned.

    Attributes:
        name: in lower case, as in settings and HDF5 attributes.
        default: of generated data.
        meaning: in words.
        symbol: how file names write it, such as `Nu` of `Nu0.01`; the name itself for None.
        positive: whether only values above zero make sense.
    """

    name: str
    default: float
    meaning: str
    symbol: str | None = None
    positive: bool = False

    @property
    def written(self) -> str:
        """How file names write it."""
        return self.symbol or self.name


@dataclass(frozen=True)
class Axis:
    """An axis of the domain.

    Attributes:
        extent: where generated data begins and ends.
        boundary: None where files differ and say.
    """

    extent: tuple[float, float] = (0.0, 1.0)
    boundary: BoundaryKind | None = "periodic"


@dataclass(frozen=True)
class Solver:
    """How UPS makes trajectories of a single field itself.

    Attributes:
        draw: (trajectories (n,), seed, points per axis) -> random initial states (n, *space) at the centres of equal
            cells. Each depends on the seed and its own number alone, so that a larger set begins with the smaller one.
        evolve: (initial (k, *space), rising times (T,), **parameters by name) -> states (k, *space) at one time after
            the other, the first left out. States of a trajectory do not depend on its companions.
        version: raised when its output changes, so that files of the earlier one are made again.
    """

    draw: Callable[[Int64, int, int], Float64]
    evolve: Callable[..., Iterator[Float64]]
    version: int = 1

    def solve(
        self,
        initial: Float64,
        times: Float64,
        advanced: Callable[[int], None] = lambda trajectories: None,
        **parameters: float,
    ) -> Iterator[tuple[Int64, Float64]]:
        """Solve for many trajectories, block by block.

        Args:
            initial: (n, *space) states at the first time.
            times: (T,) rising.
            advanced: called after each frame with the number of trajectories that reached it; may raise to stop.
            parameters: of the PDE.

        Yields:
            Row numbers (k,) of `initial` and their frames (k, T, *space), the first frame being the initial one.
        """
        for rows in cache_blocks(initial):
            frames = np.empty((len(rows), len(times), *initial.shape[1:]))
            frames[:, 0] = initial[rows]
            for number, state in enumerate(self.evolve(initial[rows], times, **parameters), start=1):
                frames[:, number] = state
                advanced(len(rows))
            yield rows, frames


@dataclass(frozen=True)
class Task:
    """A PDE.

    Attributes:
        name: as in `data.task`.
        title: how PDEBench's file names begin; generated files are named after it.
        fields: of the state.
        parameters: of the equation.
        axes: of the domain.
        conserved: fields whose integral over the domain does not change, where no boundary is open.
        symmetries: exact ones, at equal parameters.
        solver: None where UPS recognises files only.
    """

    name: str
    title: str
    fields: tuple[Field, ...]
    parameters: tuple[Parameter, ...]
    axes: tuple[Axis, ...]
    conserved: tuple[str, ...] = ()
    symmetries: tuple[Symmetry, ...] = ()
    solver: Solver | None = None

    def __post_init__(self) -> None:
        for parameter in self.parameters:
            if parameter.name in RESERVED or parameter.name != parameter.name.lower():
                raise ValueError(f"task {self.name}: no parameter can be called {parameter.name!r}")
        if any(len(field.reflected) != len(self.axes) for field in self.fields):
            raise ValueError(f"task {self.name}: every field takes a sign for each of the {len(self.axes)} axes")
        if self.solver is not None and len(self.fields) != 1:
            raise ValueError(f"task {self.name}: a solver gives a single field, not {len(self.fields)}")

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Per axis, whether it wraps in every file."""
        return tuple(axis.boundary == "periodic" for axis in self.axes)

    def values(self, given: Mapping[str, float]) -> dict[str, float]:
        """All parameters by name, the given values before the defaults.

        Raises:
            SettingsError: a parameter that the task does not have, or a value that makes no sense.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in given.items():
            key = f"data.generate.parameters.{name}"
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
                meant = f"the nearest is {near[0]}; " if near else ""
                has = ", ".join(f"{p.name} ({p.meaning}, {p.default:g})" for p in self.parameters) or "none"
                raise SettingsError(f"{key}: {self.name} has no parameter {name!r}", f"{meant}it has {has}")
            if known[name].positive and not value > 0:
                raise SettingsError(f"{key} = {value:g} must be above 0", f"it is the {known[name].meaning}")
        return {name: float(given.get(name, parameter.default)) for name, parameter in known.items()}
