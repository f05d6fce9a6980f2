"""The contract of a discretisation: where a field's values lie, and what shape a frame of them has."""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ups_engine.config.models import ConvSettings
from ups_engine.discretisation.arrays import Float64
from ups_engine.discretisation.sample import Kind, Sample

if TYPE_CHECKING:  # torch is imported only by who asks for something that needs it
    from torch import Tensor, nn

    from ups_engine.models.tokens import TokenGrid


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
    def points(self) -> int:
        """N."""
        return math.prod(self.shape)

    @abstractmethod
    def tokens(self, patch: int, count: int | None = None) -> "TokenGrid":
        """How latent tokens are arranged over the points.

        Args:
            patch: points that a token covers along each axis.
            count: tokens that there must be; None for as many as there are.

        Raises:
            SettingsError: the tokens do not fit.
        """

    @abstractmethod
    def encoder(self, tokens: "TokenGrid", channels: int, dim: int, settings: ConvSettings) -> "nn.Module":
        """A fresh encoder of normalised fields (B, *shape, C) into latents (B, tokens, dim)."""

    @abstractmethod
    def decoder(self, tokens: "TokenGrid", channels: int, dim: int, settings: ConvSettings) -> "nn.Module":
        """A fresh decoder of latents (B, tokens, dim) into normalised fields (B, *shape, C)."""

    @abstractmethod
    def mean(self, values: "Tensor") -> "Tensor":
        """Mean over the domain, each point by its share of it: (B, T, *shape, C) -> (B, T, C)."""

    @abstractmethod
    def edge_rms(self, error: "Tensor") -> "Tensor":
        """Root mean square over the edge of the domain: (B, T, *shape, C) -> (B, T, C)."""

    @abstractmethod
    def shell_powers(self, error: "Tensor") -> "Tensor":
        """Power in each shell of wave numbers: (B, T, *shape, C) -> (B, T, shells, C)."""

    @abstractmethod
    def thinned(self, most: int) -> tuple[tuple[slice, ...], tuple[Float64, ...]]:
        """A part of about `most` points for pictures: its place among `shape`, and its coordinates along each axis."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """For the run's record; `kind` among it."""
