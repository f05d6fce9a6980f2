"""The blocks that networks over tokens are made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ups_engine.config.models import ConvSettings
from ups_engine.models.tokens import TokenGrid, pad


class DepthwiseConv(nn.Module):
    """One small convolution per channel over the token grid, periodic where the field is, else zero beyond the edge.

    The zeros tell a token how far the boundary is; on periodic axes nothing does.
    """

    def __init__(self, channels: int, grid: TokenGrid, width: int) -> None:
        super().__init__()
        self.grid, self.width = grid, width
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[grid.axes - 1]
        self.conv = kind(channels, channels, width, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, channels) -> the same shape."""
        reach = self.width // 2
        y = x.transpose(1, 2).unflatten(2, self.grid.cells)  # (B, channels, *cells)
        for axis, periodic in enumerate(self.grid.periodic):
            y = pad(y, axis + 2, reach, reach, periodic)
        return self.conv(y).flatten(2).transpose(1, 2)


class TokenLinear(nn.Linear):
    """A linear map that all tokens share, plus, at each end of an axis that does not wrap, one for the tokens there.

    A window at an end holds other waves than one inside (see `lapped`), so the same coefficients mean something else
    there, and what lies beyond is the boundary. On periodic axes nothing is added.
    """

    at_end: Tensor

    def __init__(self, grid: TokenGrid, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("at_end", end_tokens(grid), persistent=False)
        ends = self.at_end.shape[1]
        self.ends = nn.Linear(inputs, ends * outputs) if ends else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, inputs) -> (B, tokens, outputs)."""
        y = super().forward(x)
        if self.ends is None:
            return y
        added = self.ends(x).unflatten(-1, (self.at_end.shape[1], self.out_features))
        return y + (added * self.at_end.unsqueeze(-1)).sum(-2)

    def start_at_zero(self) -> None:
        """Give zeros at first."""
        for linear in (self, self.ends):
            if linear is not None:
                nn.init.zeros_(linear.weight)
                nn.init.zeros_(linear.bias)


def end_tokens(grid: TokenGrid) -> Tensor:
    """(tokens, ends): 1 where a token lies at an end, the first and last of each axis that does not wrap, else 0."""
    position = torch.cartesian_prod(*[torch.arange(n) for n in grid.cells]).reshape(grid.count, grid.axes)
    columns = [
        position[:, axis] == place
        for axis, periodic in enumerate(grid.periodic)
        for place in (0, grid.cells[axis] - 1)
        if not periodic
    ]
    return torch.stack(columns, dim=-1).float() if columns else torch.zeros(grid.count, 0)


class ConvBlock(nn.Module):
    """Residual block of the encoder and decoder: depthwise convolution, norm, two-layer MLP (Liu et al. 2022)."""

    def __init__(self, channels: int, grid: TokenGrid) -> None:
        super().__init__()
        self.conv = DepthwiseConv(channels, grid, width=3)
        self.norm = nn.LayerNorm(channels)
        self.up = nn.Linear(channels, 2 * channels)
        self.down = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, channels) -> the same shape."""
        return x + self.down(F.gelu(self.up(self.norm(self.conv(x)))))


@contextmanager
def full_products() -> Iterator[None]:
    """Matrix products in full float32, whatever training uses.

    A rollout encodes and decodes at every step, and in tf32 each pair loses 2e-4 of a field; their products are few.
    Gradients are not concerned: they are computed later.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class TokenTransform(nn.Module):
    """What encoder and decoder share: A x + f(x) per token, f a small convolutional network that starts at zero.

    Args:
        grid: the arrangement of tokens.
        channels: field channels C.
        dim: latent channels.
        inputs: channels of x.
        outputs: channels of the result.

    Attributes:
        mean: (dim,) of the latent before it is standardised.
        std: (dim,) likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, grid: TokenGrid, channels: int, dim: int, settings: ConvSettings, *, inputs: int, outputs: int
    ) -> None:
        super().__init__()
        self.grid, self.channels, self.dim = grid, channels, dim
        self.linear = nn.Linear(inputs, outputs)
        self.stem = nn.Linear(inputs, settings.hidden)
        self.blocks = nn.ModuleList(ConvBlock(settings.hidden, grid) for _ in range(settings.depth))
        self.head = nn.Linear(settings.hidden, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def transform(self, x: Tensor) -> Tensor:
        """(B, tokens, inputs) -> (B, tokens, outputs)."""
        y = self.linear(x)
        if len(self.blocks):
            hidden = self.stem(x)
            for block in self.blocks:
                hidden = block(hidden)
            y = y + self.head(hidden)
        return y


class RelativeAttention(nn.Module):
    """Attention that sees only relative positions: rotary phases with whole periods on periodic axes.

    Query and key are rotated by angles proportional to the token's position (Su et al. 2021). On a periodic axis of
    J cells all angles are multiples of 2 pi / J, so that the relative position is taken around the ring; elsewhere
    they fall geometrically.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, channels: int, heads: int, grid: TokenGrid) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        angles = rotary_angles(grid, channels // heads)
        self.register_buffer("cos", torch.cos(angles), persistent=False)
        self.register_buffer("sin", torch.sin(angles), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, channels) -> the same shape."""
        # each (B, heads, tokens, width)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self._rotate(q), self._rotate(k), v)
        return self.out(y.transpose(1, 2).flatten(2))

    def _rotate(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def rotary_angles(grid: TokenGrid, width: int) -> Tensor:
    """Rotation angles (tokens, width / 2) of the tokens' positions, the axes taking turns."""
    position = torch.cartesian_prod(*[torch.arange(n, dtype=torch.float64) for n in grid.cells])
    position = position.reshape(grid.count, grid.axes)
    columns = []
    for i in range(width // 2):
        axis, step = i % grid.axes, i // grid.axes
        if grid.periodic[axis]:
            cells = grid.cells[axis]
            frequency = 2 * pi * (1 + step % (cells // 2)) / cells
        else:
            frequency = 100.0 ** (-step * grid.axes / max(1, width // 2))
        columns.append(position[:, axis] * frequency)
    return torch.stack(columns, dim=-1).float()
