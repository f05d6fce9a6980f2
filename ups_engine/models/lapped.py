r"""The modulated lapped transform: overlapping local cosine waves that tile a grid without loss, up to its ends.

A cell of `p` grid points sees a window of `2p` points, half a cell beyond either side. On the window, with the
continuous coordinate s in (0, 2p) counted in grid spacings,

    c_k(s) = sqrt(2/p) sin(pi s / 2p) cos(pi/p (s + p/2) (k + 1/2)),   k = 0 .. p-1
    s_k(s) = sqrt(2/p) sin(pi s / 2p) sin(pi/p (s + p/2) (k + 1/2)).

At the grid points s = 1/2, 3/2, .. the cosines alone form an orthonormal basis of all fields on a periodic grid
(Malvar, "Lapped transforms for efficient transform/subband coding", 1990): they are odd about the cell's left edge and
even about its right one, s = p/2 and 3p/2, so that windowed neighbours cancel each other's aliasing. So do the sines
alone, the other way round, and both together are the complex lapped transform in which a shift of the field is nearly
a rotation of each (c_k, s_k) pair. Being functions of a continuous s they can be summed between grid points.

Nothing lies beyond the end of an axis that does not wrap, so nothing overlaps there: the window of the end's cell
stays 1 up to the edge, and the family that would be odd there, which would force every field to zero, has the waves

    e_k(s) = sqrt(2/p) w(s) cos(pi/p r k),  r the distance from the end, k = 0 divided by sqrt 2

that are even about both edges. Each family stays an orthonormal basis (Coifman and Meyer, "Remarques sur l'analyse de
Fourier a fenetre", 1991; Auscher, Weiss and Wickerhauser, "Local sine and cosine bases of Coifman and Meyer", 1992),
for any patch size, and mirroring the axis swaps the families. That needs grid points on either side of an edge, not on
it: on such an axis an odd window is shifted by half a spacing.

Encoder and decoder start from this transform and are trained from there.
"""

from itertools import product
from math import pi

import torch
from torch import Tensor, nn

from ups_engine.errors import CheckpointError
from ups_engine.models.tokens import TokenGrid


def waves(s: Tensor, patch: int, first: Tensor | bool = False, last: Tensor | bool = False) -> Tensor:
    """Evaluate the 2p waves of a window.

    Args:
        s: window coordinates (...) in grid spacings; the waves vanish outside (0, 2p) and beyond an end.
        first: whether the window's cell is the first of an axis that does not wrap; (...) or one for all.
        last: whether it is the last of one.

    Returns:
        (..., 2p): p cosines by rising frequency, then p sines.
    """
    first, last = (torch.as_tensor(end, device=s.device).expand(s.shape) for end in (first, last))
    window = torch.where((s > 0) & (s < 2 * patch), torch.sin(pi * s / (2 * patch)), 0.0)
    window = torch.where(first & (s < patch), (s >= patch / 2).to(s.dtype), window)
    window = torch.where(last & (s > patch), (s <= 3 * patch / 2).to(s.dtype), window)
    k = torch.arange(patch, dtype=s.dtype, device=s.device)
    phase = pi / patch * (s + patch / 2).unsqueeze(-1) * (k + 0.5)
    cosines = torch.where(first.unsqueeze(-1), _even(s - patch / 2, k), torch.cos(phase))
    # The sign is that of c_k mirrored, so that mirroring an axis is the same exchange of families in every cell.
    mirrored = (1 - 2 * ((k + 1) % 2)) * _even(3 * patch / 2 - s, k)
    sines = torch.where(last.unsqueeze(-1), mirrored, torch.sin(phase))
    return torch.cat([cosines, sines], dim=-1) * ((2 / patch) ** 0.5 * window).unsqueeze(-1)


def _even(distance: Tensor, k: Tensor) -> Tensor:
    """Cosines of whole half periods, (..., p), at distances (...) from the end."""
    return torch.cos(pi / len(k) * distance.unsqueeze(-1) * k) * torch.where(k == 0, 0.5, torch.ones_like(k)).sqrt()


def window_start(patch: int, periodic: bool) -> float:
    """Coordinate s of the first grid point of a cell's window, less half a spacing."""
    return 0.0 if periodic else patch % 2 / 2


def window_points(patch: int, periodic: bool) -> Tensor:
    """Coordinates s (2p,) of the grid points of a cell's window, the first half a cell before the cell."""
    return torch.arange(2 * patch, dtype=torch.float64) + 0.5 + window_start(patch, periodic)


def wave_order(patch: int, axes: int) -> list[tuple[int, ...]]:
    """Which wave each axis contributes to the n-th product wave.

    First the products of cosines by rising frequency, which are complete by themselves, then those with sines.
    """
    indices = product(range(2 * patch), repeat=axes)
    return sorted(indices, key=lambda ks: (any(k >= patch for k in ks), sum((k % patch + 0.5) ** 2 for k in ks), ks))


class LappedTransform(nn.Module):
    """Between the points of windows and the coefficients of their waves, axis by axis."""

    tables: Tensor

    def __init__(self, grid: TokenGrid) -> None:
        super().__init__()
        self.grid = grid
        wraps, ends = window_points(grid.patch, periodic=True), window_points(grid.patch, periodic=False)
        tables = [waves(wraps, grid.patch), waves(ends, grid.patch)]
        tables += [waves(ends, grid.patch, first=True), waves(ends, grid.patch, last=True)]
        self.register_buffer("tables", torch.stack(tables).float(), persistent=False)  # each (2p points, 2p waves)

    def analyse(self, windows: Tensor, axis: int) -> Tensor:
        """Products (B, *cells, .., 2p) of windows (B, *cells, .., 2p points of `axis`) with their waves."""
        return self._by_cell(windows, axis, self.tables)

    def synthesise(self, coefficients: Tensor, axis: int) -> Tensor:
        """Windows (B, *cells, .., 2p points of `axis`) that coefficients (B, *cells, .., 2p) are the waves of."""
        return self._by_cell(coefficients, axis, self.tables.mT)

    def _by_cell(self, x: Tensor, axis: int, tables: Tensor) -> Tensor:
        wraps, interior, first, last = tables
        if self.grid.periodic[axis]:
            return x @ wraps
        place, cells = axis + 1, self.grid.cells[axis]
        ends = x.narrow(place, 0, 1) @ first, x.narrow(place, cells - 1, 1) @ last
        return torch.cat([ends[0], x.narrow(place, 1, cells - 2) @ interior, ends[1]], dim=place)


def require_wrapping(grid: TokenGrid) -> None:
    """Refuse the first version's weights where an axis ends: its windows repeated the last value beyond the end.

    Raises:
        CheckpointError: an axis does not wrap.
    """
    if not all(grid.periodic):
        raise CheckpointError(
            "encoder and decoder are of an earlier UPS, which lost part of the field at ends that do not wrap",
            "train again in a new run: reconstruction is exact there now",
        )
