"""From fields on a grid to latent tokens."""

import torch
from torch import Tensor

from ups_engine.config.models import ConvSettings
from ups_engine.models.blocks import TokenTransform, full_products
from ups_engine.models.lapped import LappedTransform, require_wrapping, wave_order, waves, window_points
from ups_engine.models.tokens import TokenGrid, Weights, pad


class GridEncoder(TokenTransform):
    """Overlapping windows of a field, each turned into one token.

    z = standardise(A c + f(c)) of the coefficients c that the lapped transform of lapped.py gives each window: A starts
    by taking the `dim` lowest waves per channel, f is a small convolutional network over tokens that starts at zero.
    Nothing knows where it is on a periodic grid, so that shifting the field by a patch shifts the tokens.

    Args:
        grid: the arrangement of tokens.
        channels: field channels C.
        dim: latent channels.
    """

    def __init__(self, grid: TokenGrid, channels: int, dim: int, settings: ConvSettings) -> None:
        coefficients = (2 * grid.patch) ** grid.axes * channels
        super().__init__(grid, channels, dim, settings, inputs=coefficients, outputs=dim)
        self.lapped = LappedTransform(grid)
        with torch.no_grad():
            self.linear.weight.copy_(analysis(grid, channels, dim, self.linear.weight))

    def forward(self, u: Tensor) -> Tensor:
        """Encode.

        Args:
            u: normalised fields (B, *grid shape, C).

        Returns:
            Standardised latent tokens (B, tokens, dim).
        """
        with full_products():
            return (self.transform(self.coefficients(u)) - self.mean) / self.std

    def coefficients(self, u: Tensor) -> Tensor:
        """Of a field (B, *grid shape, C): those of every token's window (B, tokens, (2p)^d * C)."""
        patch, left = self.grid.patch, self.grid.patch // 2
        for axis in range(self.grid.axes):
            u = pad(u, axis + 1, left, patch - left, self.grid.periodic[axis])
            u = u.unfold(axis + 1, 2 * patch, patch)  # the window's points move to the last axis
            u = self.lapped.analyse(u, axis)
        u = u.movedim(self.grid.axes + 1, -1)  # (B, *cells, 2p, .., 2p, C)
        return u.reshape(u.shape[0], self.grid.count, -1)


def analysis(grid: TokenGrid, channels: int, dim: int, spare: Tensor) -> Tensor:
    """Rows (dim, (2p)^d * C) that take the waves of lowest frequencies, channels in turn.

    Rows beyond the (2p)^d * C waves there are keep the values of `spare`, of the same shape.
    """
    order = wave_order(grid.patch, grid.axes)
    rows = spare.reshape(dim, *[2 * grid.patch] * grid.axes, channels).clone()
    for row in range(min(dim, len(order) * channels)):
        rows[row] = 0.0
        rows[(row, *order[row // channels], row % channels)] = 1.0
    return rows.flatten(1)


def upgraded_encoder(weights: Weights, grid: TokenGrid) -> Weights:
    """Weights of the first version, which took a window's points, for the coefficients of its waves.

    Raises:
        CheckpointError: an axis does not wrap.
    """
    require_wrapping(grid)
    points_of_waves = torch.linalg.inv(waves(window_points(grid.patch, periodic=True), grid.patch))  # (2p, 2p)
    upgraded = dict(weights)
    for name in ("linear.weight", "stem.weight"):
        rows = weights[name].double().unflatten(1, (*[2 * grid.patch] * grid.axes, -1))
        for axis in range(grid.axes):
            rows = torch.tensordot(rows, points_of_waves, dims=([axis + 1], [1])).movedim(-1, axis + 1)
        upgraded[name] = rows.flatten(1).to(weights[name].dtype)
    return upgraded
