"""From latent tokens to fields, on the grid or at any point between."""

import torch
from torch import Tensor

from ups_engine.config.models import ConvSettings
from ups_engine.models.blocks import TokenTransform, full_products
from ups_engine.models.lapped import LappedTransform, require_wrapping, wave_order, waves, window_start
from ups_engine.models.tokens import TokenGrid, Weights, pad


class GridDecoder(TokenTransform):
    """Each token gives the coefficients of smooth waves on its window; a field is the sum over windows.

    u(x) = sum_j sum_k c_jk w_k(x - x_j) with the waves w_k of lapped.py and c = S z + g(z): S starts as the inverse
    of the encoder's transform, g is a small convolutional network over tokens that starts at zero. The sum can be
    evaluated anywhere; on the grid it is a transposed convolution.
    """

    def __init__(self, grid: TokenGrid, channels: int, dim: int, settings: ConvSettings) -> None:
        coefficients = (2 * grid.patch) ** grid.axes * channels
        super().__init__(grid, channels, dim, settings, inputs=dim, outputs=coefficients)
        with torch.no_grad():
            self.linear.weight.copy_(synthesis(grid, channels, dim))
        self.lapped = LappedTransform(grid)

    def forward(self, z: Tensor, points: Tensor | None = None) -> Tensor:
        """Decode.

        Args:
            z: standardised latent tokens (B, tokens, dim).
            points: (N, d) positions as fractions [0, 1] of each axis; None decodes at the grid's cell centres.

        Returns:
            Normalised fields (B, *grid shape, C), or (B, N, C) at points.
        """
        with full_products():
            coefficients = self.coefficients(z)
            return self._on_grid(coefficients) if points is None else self._at(coefficients, points)

    def coefficients(self, z: Tensor) -> Tensor:
        """Wave coefficients (B, *cells, 2p, .., 2p, C) of every token's window."""
        c = self.transform(z * self.std + self.mean)
        return c.unflatten(1, self.grid.cells).unflatten(-1, (*[2 * self.grid.patch] * self.grid.axes, self.channels))

    def _on_grid(self, c: Tensor) -> Tensor:
        patch, left, axes = self.grid.patch, self.grid.patch // 2, self.grid.axes
        for axis in range(axes):
            values = self.lapped.synthesise(c.movedim(axes + 1, -1), axis)  # (.., waves of later axes, C, 2p)
            # The window of cell j covers grid points jp - left .. jp - left + 2p: sum its two halves with the
            # neighbours', then cut the half cell that hangs over at either end.
            values = pad(values, axis + 1, 1, 1, self.grid.periodic[axis])
            cells = self.grid.cells[axis] + 1
            first, second = values.narrow(axis + 1, 1, cells), values.narrow(axis + 1, 0, cells)
            block = first[..., :patch] + second[..., patch:]  # (B, .., J + 1, .., C, p)
            block = block.movedim(-1, axis + 2).flatten(axis + 1, axis + 2)
            c = block.narrow(axis + 1, left, self.grid.shape[axis])
        return c

    def _at(self, c: Tensor, points: Tensor) -> Tensor:
        patch, axes = self.grid.patch, self.grid.axes
        for axis in range(axes):
            c = pad(c, axis + 1, 1, 1, self.grid.periodic[axis])
        size = torch.tensor(self.grid.shape, dtype=points.dtype, device=points.device)
        start = [patch // 2 + window_start(patch, periodic) for periodic in self.grid.periodic]
        s = points * size + points.new_tensor(start)  # window coordinate of cell 0's window
        later = torch.div(s, patch, rounding_mode="floor").clamp(max=size // patch)
        out = c.new_zeros(c.shape[0], points.shape[0], self.channels)
        for corner in range(2**axes):
            back = torch.tensor([corner >> axis & 1 for axis in range(axes)], dtype=points.dtype, device=points.device)
            cell = later - back
            index = (cell + 1).long().unbind(-1)  # + 1: the padding in front
            values = c.movedim(0, axes)[index].movedim(1, 0)  # (B, N, 2p, .., 2p, C)
            for axis in range(axes):
                at, ends = cell[:, axis], not self.grid.periodic[axis]
                first, last = (at == 0) & ends, (at == self.grid.cells[axis] - 1) & ends
                wave = waves(s[:, axis] - at * patch, patch, first, last).to(values.dtype)  # (N, 2p)
                values = torch.einsum("nk,bnk...->bn...", wave, values)
            out = out + values
        return out


def synthesis(grid: TokenGrid, channels: int, dim: int) -> Tensor:
    """The inverse ((2p)^d * C, dim) of `encoder.analysis`, exact where dim >= p^d * C.

    Cosines alone are complete; where the latent holds all sines too, every product of families is, and they share.
    """
    order = wave_order(grid.patch, grid.axes)
    complete = dim >= len(order) * channels
    used = len(order) if complete else min(len(order), grid.patch**grid.axes)
    weights = torch.zeros(*[2 * grid.patch] * grid.axes, channels, dim)
    for row in range(min(dim, used * channels)):
        weights[(*order[row // channels], row % channels, row)] = 0.5**grid.axes if complete else 1.0
    return weights.flatten(0, -2)


def upgraded_decoder(weights: Weights, grid: TokenGrid) -> Weights:
    """Weights of the first version, which mean the same where every axis wraps.

    Raises:
        CheckpointError: an axis does not wrap.
    """
    require_wrapping(grid)
    return weights
