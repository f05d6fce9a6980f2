"""The contract of a discretisation: where a field's values lie, and what shape a frame of them has."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from ups_engine.discretisation.arrays import Float64
from ups_engine.discretisation.sample import Kind, Sample


class Discretisation(ABC):
    """Where the values of a frame lie: N points in d dimensions."""

    KIND: ClassVar[Kind]
    """Of the samples that are laid out so."""

    @classmethod
    @abstractmethod
    def of(cls, sample: Sample, spatial_stride: int = 1) -> Self:
        """How a sample is laid out, or what is left of that after striding.

        Raises:
            DataError: the sample is not what this kind asks for.
            SettingsError: a stride that does not go with it.
        """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of a frame's values, channels apart: a frame is (*shape, C)."""

    @property
    @abstractmethod
    def points(self) -> int:
        """N."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """d."""

    @property
    @abstractmethod
    def positions(self) -> Float64:
        """(N, d) positions of the points, in the order of a frame's values."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """For the run's record; `kind` among it."""

    @classmethod
    @abstractmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From the run's record; positions come back to rounding."""
