"""The regular arrangement of latent tokens over a grid, and the padding that a boundary calls for."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from ups_engine.config.models import LEAST_CELLS
from ups_engine.errors import SettingsError

Weights: TypeAlias = dict[str, Tensor]
"""Of a network, by the names of its parameters and buffers."""


@dataclass(frozen=True)
class TokenGrid:
    """Tokens that tile a regular grid, one for every `patch` grid points along each axis.

    Attributes:
        shape: grid points per axis.
        patch: grid points per token and axis.
        periodic: per axis, whether its ends are neighbours.
    """

    shape: tuple[int, ...]
    patch: int
    periodic: tuple[bool, ...]

    @classmethod
    def fit(cls, shape: Sequence[int], patch: int, periodic: Sequence[bool], tokens: int | None = None) -> "TokenGrid":
        """Tile a grid.

        Raises:
            SettingsError: the patch does not divide the grid, leaves fewer than four tokens along an axis,
                or gives another number of tokens than the settings ask for.
        """
        wrong = [n for n in shape if n % patch or n // patch < LEAST_CELLS]
        grid = "x".join(map(str, shape))
        if wrong:
            fitting = [p for p in range(1, min(shape) // LEAST_CELLS + 1) if all(n % p == 0 for n in shape)]
            raise SettingsError(
                f"data.patch_size = {patch} does not tile the {grid} grid into four tokens or more along each axis",
                f"patch sizes that do: {', '.join(map(str, fitting))}"
                if fitting
                else "choose another data.spatial_stride",
            )
        found = cls(tuple(shape), patch, tuple(periodic))
        if tokens is not None and tokens != found.count:
            raise SettingsError(
                f"latent.tokens = {tokens}, but a {grid} grid in patches of {patch} has {found.count} tokens",
                f"set latent.tokens to {found.count} or leave it unset, or change data.patch_size",
            )
        return found

    @property
    def cells(self) -> tuple[int, ...]:
        """Tokens per axis."""
        return tuple(n // self.patch for n in self.shape)

    @property
    def count(self) -> int:
        """Tokens of the whole grid."""
        return prod(self.cells)

    @property
    def axes(self) -> int:
        """Space dimensions."""
        return len(self.shape)


def pad(x: Tensor, axis: int, before: int, after: int, periodic: bool) -> Tensor:
    """Extend one axis across its ends: with the other end where periodic, else with zeros.

    Args:
        x: any shape; `axis` counts from the front and is at least `before` and `after` long.
    """
    n = x.shape[axis]
    if periodic:
        left, right = x.narrow(axis, n - before, before), x.narrow(axis, 0, after)
    else:
        left, right = (x.new_zeros(*x.shape[:axis], beyond, *x.shape[axis + 1 :]) for beyond in (before, after))
    return torch.cat([left, x, right], dim=axis)
