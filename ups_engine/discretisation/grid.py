"""The regular grid: evenly spaced points along one to three axes, each of which wraps or ends."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ups_engine.config.models import ConvSettings
from ups_engine.discretisation.arrays import Float64
from ups_engine.discretisation.base import Discretisation
from ups_engine.discretisation.sample import AXES, Kind, Sample
from ups_engine.errors import DataError, SettingsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ups_engine.models.tokens import TokenGrid


@dataclass(frozen=True, eq=False)
class RegularGrid(Discretisation):
    """Points in row-major order of their axes.

    A sample of it has its points in that order, `meta["shape"]` with the points of each axis, and in `bc` for each
    axis by its name, x, y or z, `periodic` or what else its ends are.
    """

    KIND: ClassVar[Kind] = "grid"

    coordinates: tuple[Float64, ...]
    """Positions along each axis, in the file's units."""
    lengths: tuple[float, ...]
    """Extent of the domain along each axis: points times spacing."""
    periodic: tuple[bool, ...]
    """Per axis, whether its ends are neighbours."""

    @classmethod
    def of(cls, sample: Sample, spatial_stride: int = 1) -> Self:
        """See `Discretisation.of`.

        Raises:
            DataError: the sample is no grid.
            SettingsError: a stride that leaves a seam in a periodic axis, or fewer than two points.
        """
        shape = tuple(sample.meta.get("shape", ()))
        if math.prod(shape) != len(sample.coords) or len(shape) != sample.coords.shape[1]:
            raise DataError(f"grid sample has coords {sample.coords.shape}; expected those of a grid of shape {shape}")
        mesh = np.moveaxis(sample.coords.reshape(*shape, len(shape)), -1, 0)  # (d, *shape)
        axes = tuple(mesh[i][tuple(slice(None) if j == i else 0 for j in range(len(shape)))] for i in range(len(shape)))
        if any(not np.array_equal(ours, theirs) for ours, theirs in zip(mesh, _mesh(axes), strict=True)):
            raise DataError(f"grid sample's coords are not those of a grid of shape {shape} in row-major order")
        periodic = tuple(sample.bc.get(name) == "periodic" for name in AXES[: len(shape)])
        for points, wraps in zip(shape, periodic, strict=True):
            _check_stride(points, wraps, spatial_stride)
        coordinates = tuple(axis[::spatial_stride].astype(np.float64) for axis in axes)
        lengths = tuple(float((axis[-1] - axis[0]) / (len(axis) - 1) * len(axis)) for axis in coordinates)
        return cls(coordinates, lengths, periodic)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Discretisation.shape`: points of each axis."""
        return tuple(len(axis) for axis in self.coordinates)

    def tokens(self, patch: int, count: int | None = None) -> "TokenGrid":
        """See `Discretisation.tokens`: patches that tile the grid."""
        from ups_engine.models.tokens import TokenGrid

        return TokenGrid.fit(self.shape, patch, self.periodic, count)

    def encoder(self, tokens: "TokenGrid", channels: int, dim: int, settings: ConvSettings) -> "nn.Module":
        """See `Discretisation.encoder`."""
        from ups_engine.models.encoder import GridEncoder

        return GridEncoder(tokens, channels, dim, settings)

    def decoder(self, tokens: "TokenGrid", channels: int, dim: int, settings: ConvSettings) -> "nn.Module":
        """See `Discretisation.decoder`."""
        from ups_engine.models.decoder import GridDecoder

        return GridDecoder(tokens, channels, dim, settings)

    def mean(self, values: "Tensor") -> "Tensor":
        """See `Discretisation.mean`: all points have the same share."""
        return values.flatten(2, -2).mean(2)

    def edge_rms(self, error: "Tensor") -> "Tensor":
        """See `Discretisation.edge_rms`: the first and the last cells of each axis."""
        import torch

        square = error.square()
        edges = [
            square.select(axis, end).flatten(2, -2) if square.ndim > 4 else square.select(axis, end).unsqueeze(2)
            for axis in range(2, square.ndim - 1)
            for end in (0, -1)
        ]
        return torch.cat(edges, dim=2).mean(2).sqrt()

    def shell_powers(self, error: "Tensor") -> "Tensor":
        """See `Discretisation.shell_powers`: the sum of |FFT(error) / n|^2 over each shell b <= |k| < b + 1."""
        import torch

        spectrum: Tensor = torch.fft.rfftn(error, dim=tuple(range(2, error.ndim - 1)), norm="forward")
        shell, weight = _shells(tuple(error.shape[2:-1]), error.device)
        power = spectrum.abs().square().flatten(2, -2) * weight[:, None]
        sums = power.new_zeros(*power.shape[:2], int(shell.max()) + 1, power.shape[-1])
        return sums.index_add(2, shell, power)

    def thinned(self, most: int) -> tuple[tuple[slice, ...], tuple[Float64, ...]]:
        """See `Discretisation.thinned`: every n-th point along each axis, n as small as `most` allows."""
        stride = 1
        while math.prod(-(-points // stride) for points in self.shape) > most and stride < max(self.shape):
            stride += 1
        part = slice(None, None, stride)
        return (part,) * len(self.shape), tuple(axis[part] for axis in self.coordinates)

    def to_json(self) -> dict[str, Any]:
        """See `Discretisation.to_json`."""
        return {
            "kind": self.KIND,
            "shape": list(self.shape),
            "lengths": list(self.lengths),
            "origin": [float(axis[0]) for axis in self.coordinates],
            "periodic": list(self.periodic),
        }


def cell_centres(points: int, extent: tuple[float, float] = (0.0, 1.0)) -> Float64:
    """(points,) centres of equal cells of an interval."""
    first, last = extent
    return np.asarray(first + (np.arange(points) + 0.5) * ((last - first) / points), dtype=np.float64)


def grid_points(coordinates: tuple[Float64, ...]) -> Float64:
    """(N, d) points of a grid in row-major order, from positions along each axis."""
    return np.stack([axis.ravel() for axis in _mesh(coordinates)], axis=1)


def _mesh(coordinates: tuple[Float64, ...]) -> tuple[Float64, ...]:
    return np.meshgrid(*coordinates, indexing="ij", copy=False)


def _check_stride(points: int, wraps: bool, stride: int) -> None:
    if wraps and points % stride:
        raise SettingsError(
            f"data.spatial_stride = {stride} does not divide the {points} points of a periodic axis",
            f"take one of {', '.join(str(n) for n in range(1, points) if points % n == 0 and n <= 64)}",
        )
    if -(-points // stride) < 2:
        raise SettingsError(f"data.spatial_stride = {stride} leaves fewer than 2 of {points} points")


def _shells(space: tuple[int, ...], device: "torch.device") -> "tuple[Tensor, Tensor]":
    """Shell number and weight of each mode of a real FFT, flattened; weights make a conjugate pair count once."""
    import torch

    waves = [torch.fft.fftfreq(n, 1 / n, device=device, dtype=torch.float64).round() for n in space[:-1]]
    last = torch.arange(space[-1] // 2 + 1, device=device, dtype=torch.float64)
    grids = torch.meshgrid(*waves, last, indexing="ij")
    radius = torch.stack(grids).square().sum(0).sqrt()
    # A mode k is its own partner where -k = k on the grid; in the columns 0 and n/2 of the last axis both partners
    # of a pair are present, elsewhere only one.
    alone = torch.stack([(2 * k) % n == 0 for k, n in zip(grids, space, strict=True)]).all(0)
    both_present = (2 * grids[-1]) % space[-1] == 0
    weight = torch.where(both_present & ~alone, 0.5, 1.0).double()
    return (radius + 1e-9).floor().long().flatten(), weight.flatten()
