"""Operators under trial: spectral mixing on the points of a periodic grid or on the tokens of an exact latent.

Everything is kept as (tokens, channels, batch), batch last. Then the transform to the modes is one matrix product, the
modes (mode, re/im x channel, batch) are a view of its result, the product for each mode and the channel products are
batched products of contiguous matrices, and nothing is ever transposed. `layout = "batch_first"` is the usual
(batch, tokens, channels) for comparison.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trial_data import DT

PRODUCTS = {"tf32": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Shape:
    """An operator.

    Args:
        latent: `points`; `patch`, `patch` points a token; `lapped`, the orthonormal lapped transform; `frame`, its
            cosines and sines, twice as many numbers as points. All have exact inverses, which are used.
        local: tokens that a token's own product sees, itself in the middle.
        hidden: width of a second layer in each block; 0 for none.
        groups: of channels that a mode mixes, apart from each other.
        stem: tokens that the first product sees.
        mean_free: the predicted change has no mean.
        galilean: exact for boosts by whole points a frame, by construction: the operator sees the field without its
            mean, moved by the mean's speed, and the fraction of a point by which that is.
        products: precision of the matrix products; what they are added to stays in fp32.
    """

    latent: str = "points"
    patch: int = 1
    width: int = 64
    modes: int = 64
    layers: int = 5
    groups: int = 1
    hidden: int = 0
    local: int = 1
    stem: int = 1
    mean_free: bool = True
    galilean: bool = False
    products: str = "tf32"
    layout: str = "batch_last"


def fourier_rows(points: int, modes: int) -> Tensor:
    """Orthonormal real Fourier basis (2 modes, points), cosine and sine of each wavenumber in turn; float64."""
    k, x = torch.arange(modes, dtype=torch.float64)[:, None], torch.arange(points, dtype=torch.float64)
    alone = (k == 0) | (2 * k == points)
    angle = 2 * pi * k * x / points
    scale = torch.where(alone, 1.0, 2.0).double().sqrt() / sqrt(points)
    return torch.stack([torch.cos(angle) * scale, torch.where(alone, 0.0, torch.sin(angle)) * scale], 1).flatten(0, 1)


def latent_rows(latent: str, patch: int, points: int) -> Tensor:
    """The latent transform as a matrix (tokens x features, points) whose transpose undoes it; float64."""
    if latent in ("points", "patch"):
        return torch.eye(points, dtype=torch.float64)
    s = torch.arange(2 * patch, dtype=torch.float64) + 0.5
    phase = pi / patch * (s + patch / 2) * (torch.arange(patch, dtype=torch.float64)[:, None] + 0.5)
    waves = torch.cos(phase) if latent == "lapped" else torch.cat([torch.cos(phase), torch.sin(phase)]) / sqrt(2.0)
    waves = waves * torch.sin(pi * s / (2 * patch)) * sqrt(2.0 / patch)
    rows = torch.zeros(points // patch, len(waves), points, dtype=torch.float64)
    for token in range(points // patch):
        place = (token * patch - patch // 2 + torch.arange(2 * patch)) % points
        rows[token].index_add_(1, place, waves)
    return rows.flatten(0, 1)


def _neighbours(h: Tensor, reach: int, axis: int, channels: int) -> Tensor:
    """Each token's channels beside those of its neighbours."""
    if reach == 1:
        return h
    return torch.cat([h.roll(reach // 2 - n, axis) for n in range(reach)], channels)


def _channels_last_batch(weight: Tensor, h: Tensor) -> Tensor:
    """weight (out, in) applied to (N, in, B)."""
    return torch.bmm(weight.unsqueeze(0).expand(h.shape[0], -1, -1), h)


def block_batch_last(h: Tensor, mix: Tensor, to: Tensor, back: Tensor, local: int, weights: list[Tensor]) -> Tensor:
    """h + W gelu(spectral(h) + local(h) + b), or with one more layer in between; h (N, C, B)."""
    tokens, channels, batch = h.shape
    modes, groups, dtype = mix.shape[0], mix.shape[1], to.dtype
    cast = [w.to(dtype) for w in weights]
    low = h.to(dtype)
    spectrum = to @ low.reshape(tokens, channels * batch)
    if groups == 1:
        mixed = torch.bmm(mix[:, 0].to(dtype), spectrum.view(modes, 2 * channels, batch))
    else:
        parts = spectrum.view(modes, 2, groups, channels // groups, batch).transpose(1, 2)
        mixed = torch.bmm(mix.to(dtype).flatten(0, 1), parts.reshape(modes * groups, -1, batch))
        mixed = mixed.view(modes, groups, 2, channels // groups, batch).transpose(1, 2)
    y = (back @ mixed.reshape(2 * modes, channels * batch)).view(tokens, channels, batch)
    y = F.gelu(y + _channels_last_batch(cast[0], _neighbours(low, local, 0, 1)) + cast[1][:, None])
    if len(cast) > 4:
        y = F.gelu(_channels_last_batch(cast[4], y) + cast[5][:, None])
    return h + (_channels_last_batch(cast[2], y) + cast[3][:, None])


def block_batch_first(h: Tensor, mix: Tensor, to: Tensor, back: Tensor, local: int, weights: list[Tensor]) -> Tensor:
    """The same for h (B, N, C), one group."""
    batch, _, channels = h.shape
    modes, dtype = mix.shape[0], to.dtype
    cast = [w.to(dtype) for w in weights]
    low = h.to(dtype)
    spectrum = torch.matmul(to, low).view(batch, modes, 2 * channels).transpose(0, 1)
    mixed = torch.bmm(spectrum, mix[:, 0].to(dtype).mT).transpose(0, 1).reshape(batch, 2 * modes, channels)
    y = F.gelu(torch.matmul(back, mixed) + F.linear(_neighbours(low, local, 1, 2), cast[0], cast[1]))
    if len(cast) > 4:
        y = F.gelu(F.linear(y, cast[4], cast[5]))
    return h + F.linear(y, cast[2], cast[3])


Block = Callable[[Tensor, Tensor, Tensor, Tensor, int, list[Tensor]], Tensor]


class Operator(nn.Module):
    """One step of Burgers' equation, (X, B) to (X, B)."""

    encode: Tensor
    to_modes: Tensor
    from_modes: Tensor
    all_modes: Tensor
    wavenumbers: Tensor

    def __init__(self, shape: Shape, points: int) -> None:
        super().__init__()
        self.shape = shape
        rows = latent_rows(shape.latent, shape.patch, points)
        self.features = len(rows) * shape.patch // points
        tokens, width, dtype = len(rows) // self.features, shape.width, PRODUCTS[shape.products]
        modes = min(shape.modes, tokens // 2 + 1)
        self.identity = shape.latent in ("points", "patch")
        self.register_buffer("encode", rows.float())
        basis = fourier_rows(tokens, modes)
        self.register_buffer("to_modes", basis.to(dtype))
        self.register_buffer("from_modes", basis.T.contiguous().to(dtype))
        self.register_buffer("all_modes", fourier_rows(points, points // 2 + 1).float())
        self.register_buffer("wavenumbers", torch.arange(points // 2 + 1, dtype=torch.float32)[:, None])

        def matrix(out: int, into: int, *many: int, gain: float = 1.0) -> nn.Parameter:
            return nn.Parameter(torch.randn(*many, out, into) * gain / sqrt(into))

        each, layers = width // shape.groups, shape.layers
        inputs = self.features + 2 * shape.galilean
        self.lift, self.lift_bias = matrix(width, inputs * shape.stem), nn.Parameter(torch.zeros(width))
        self.mix = matrix(each, each, layers, modes, shape.groups, 2, gain=sqrt(0.5))
        self.local = nn.ParameterList([matrix(width, width * shape.local) for _ in range(layers)])
        self.local_bias = nn.ParameterList([nn.Parameter(torch.zeros(width)) for _ in range(layers)])
        inner, more = shape.hidden or width, layers if shape.hidden else 0
        self.up = nn.ParameterList([matrix(shape.hidden, width, gain=1.4) for _ in range(more)])
        self.up_bias = nn.ParameterList([nn.Parameter(torch.zeros(shape.hidden)) for _ in range(more)])
        self.down = nn.ParameterList([matrix(width, inner, gain=1 / sqrt(layers)) for _ in range(layers)])
        self.down_bias = nn.ParameterList([nn.Parameter(torch.zeros(width)) for _ in range(layers)])
        self.head = nn.Parameter(torch.zeros(self.features, width))
        self.block: Block = block_batch_last if shape.layout == "batch_last" else block_batch_first
        if shape.layout == "batch_first" and shape.groups > 1:
            raise ValueError("batch_first mixes in one group")

    def matrices(self) -> list[nn.Parameter]:
        """The matrices that are not spectral, lift and head apart."""
        return [*self.local, *self.up, *self.down]

    def prepare(self) -> list[Tensor]:
        """Each layer's spectral weights as real matrices, once a training step: (modes, groups, 2 each, 2 each)."""
        re, im = self.mix.unbind(3)
        return list(torch.cat([torch.cat([re, -im], -1), torch.cat([im, re], -1)], -2).unbind(0))

    def forward(self, u: Tensor, mixes: list[Tensor]) -> Tensor:
        """The next field."""
        mean = u.mean(0)
        if self.shape.galilean:
            base, extra = self._moved(u - mean, mean * (DT * len(u)))
            change = self._change(base, mixes, extra)
            base = base + mean
        else:
            base, change = u, self._change(u, mixes, None)
        if self.shape.mean_free:
            change = change - change.mean(0)
        return base + change

    def _moved(self, u: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
        """u moved by so many points, and the fraction of a point in it as two channels."""
        a, b = (self.all_modes @ u).view(-1, 2, u.shape[1]).unbind(1)
        angle = (2 * pi / len(u)) * self.wavenumbers * distance
        cos, sin = torch.cos(angle), torch.sin(angle)
        modes = torch.stack([a * cos - b * sin, a * sin + b * cos], 1).flatten(0, 1)
        fraction = 2 * pi * distance
        return self.all_modes.T @ modes, torch.stack([torch.cos(fraction), torch.sin(fraction)])

    def _change(self, u: Tensor, mixes: list[Tensor], extra: Tensor | None) -> Tensor:
        shape, batch = self.shape, u.shape[1]
        z = u if self.identity else self.encode @ u
        z = z.reshape(-1, self.features, batch)
        if extra is not None:
            z = torch.cat([z, extra.expand(len(z), -1, -1)], 1)
        h = _channels_last_batch(self.lift, _neighbours(z, shape.stem, 0, 1)) + self.lift_bias[:, None]
        first = shape.layout == "batch_first"
        if first:
            h = h.permute(2, 0, 1).contiguous()
        for layer in range(shape.layers):
            weights = [self.local[layer], self.local_bias[layer], self.down[layer], self.down_bias[layer]]
            if shape.hidden:
                weights += [self.up[layer], self.up_bias[layer]]
            h = self.block(h, mixes[layer], self.to_modes, self.from_modes, shape.local, weights)
        if first:
            h = h.permute(1, 2, 0).contiguous()
        dz = _channels_last_batch(self.head, h).reshape(-1, batch)
        return dz if self.identity else self.encode.T @ dz

    def flops(self) -> float:
        """Of the matrix products, forward and backward, for one sample and one step."""
        shape, modes = self.shape, len(self.to_modes) // 2
        tokens, width = self.to_modes.shape[1], shape.width
        spectral = 2 * 2 * modes * tokens * width + modes * (2 * width) ** 2 / shape.groups
        pointwise = tokens * width * (width * shape.local + (2 * shape.hidden or width))
        return 3.0 * 2 * shape.layers * (spectral + pointwise)
