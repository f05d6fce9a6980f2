"""From fields on a grid to latent tokens."""

import torch
from torch import Tensor

from ups_engine.config.models import ConvSettings
from ups_engine.models.blocks import TokenTransform
from ups_engine.models.lapped import grid_waves, wave_order
from ups_engine.models.tokens import TokenGrid, pad


class GridEncoder(TokenTransform):
    """Overlapping windows of a field, each turned into one token.

    z = standardise(A u + f(u)): A starts as the lapped transform of lapped.py (its `dim` lowest waves per channel),
    f is a small convolutional network over tokens that starts at zero. Nothing knows where it is on a periodic grid,
    so that shifting the field by a patch shifts the tokens.

    Args:
        grid: the arrangement of tokens.
        channels: field channels C.
        dim: latent channels.
    """

    def __init__(self, grid: TokenGrid, channels: int, dim: int, settings: ConvSettings) -> None:
        window = (2 * grid.patch) ** grid.axes * channels
        super().__init__(grid, channels, dim, settings, inputs=window, outputs=dim)
        with torch.no_grad():
            self.linear.weight.copy_(analysis(grid, channels, dim, self.linear.weight))

    def forward(self, u: Tensor) -> Tensor:
        """Encode.

        Args:
            u: normalised fields (B, *grid shape, C).

        Returns:
            Standardised latent tokens (B, tokens, dim).
        """
        return (self.transform(self.windows(u)) - self.mean) / self.std

    def windows(self, u: Tensor) -> Tensor:
        """Cut a field (B, *grid shape, C) into the overlapping windows of its tokens (B, tokens, (2p)^d * C)."""
        patch, left = self.grid.patch, self.grid.patch // 2
        for axis in range(self.grid.axes):
            u = pad(u, axis + 1, left, patch - left, self.grid.periodic[axis])
            u = u.unfold(axis + 1, 2 * patch, patch)  # the window's points move to the last axis
        u = u.movedim(self.grid.axes + 1, -1)  # (B, *cells, 2p, .., 2p, C)
        return u.reshape(u.shape[0], self.grid.count, -1)


def analysis(grid: TokenGrid, channels: int, dim: int, spare: Tensor) -> Tensor:
    """Rows (dim, window * C) of the lapped transform, lowest frequencies first, channels in turn.

    Rows beyond the (2p)^d * C waves there are keep the values of `spare`, of the same shape.
    """
    table = grid_waves(grid.patch)
    order = wave_order(grid.patch, grid.axes)
    rows = spare.clone()
    for row in range(min(dim, len(order) * channels)):
        wave, channel = order[row // channels], row % channels
        values = table[:, wave[0]]
        for k in wave[1:]:
            values = torch.tensordot(values, table[:, k], dims=0)
        weights = torch.zeros(*values.shape, channels, dtype=values.dtype)
        weights[..., channel] = values
        rows[row] = weights.flatten().to(rows.dtype)
    return rows
