"""The network over latent tokens that operator, correctors and steady prior share."""

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ups_engine.config.models import BackboneSettings
from ups_engine.models.blocks import DepthwiseConv, RelativeAttention, TokenLinear, end_tokens
from ups_engine.models.tokens import TokenGrid, Weights

CONV_WIDTH = 5
"""Cells that the local convolution of a block sees along each axis."""
NOISE_FREQUENCIES = 16


class ConditionEmbedding(nn.Module):
    """Turns PDE parameters, the time step and a noise level into one vector that modulates every block.

    Args:
        parameters: number P of PDE parameters.
        channels: width of the vector.
        reference_dt: time step of the training data; the network sees log(dt / reference_dt).
        noise: whether a noise level is part of the condition.
    """

    reference_dt: Tensor

    def __init__(self, parameters: int, channels: int, reference_dt: float, noise: bool) -> None:
        super().__init__()
        self.register_buffer("reference_dt", torch.tensor(reference_dt, dtype=torch.float32))
        self.inner = nn.Linear(parameters + 1, channels)
        self.outer = nn.Linear(channels, channels)
        self.noise = nn.Linear(2 * NOISE_FREQUENCIES, channels) if noise else None

    def forward(self, cond: Tensor, dt: Tensor, log_sigma: Tensor | None = None) -> Tensor:
        """Embed.

        Args:
            cond: standardised PDE parameters (B, P).
            dt: time step in the data's units (B,).
            log_sigma: natural logarithm of the noise level (B,), where the network has one.

        Returns:
            (B, channels).
        """
        known = torch.cat([cond, torch.log(dt / self.reference_dt).unsqueeze(-1)], dim=-1)
        hidden = self.inner(known)
        if self.noise is not None:
            assert log_sigma is not None, "a network with a noise level was called without one"
            octaves = torch.arange(NOISE_FREQUENCIES, device=dt.device, dtype=dt.dtype)
            angles = log_sigma.unsqueeze(-1) * torch.exp(octaves * (log(32.0) / NOISE_FREQUENCIES) - log(4.0))
            hidden = hidden + self.noise(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1))
        return self.outer(F.silu(hidden))


class Block(nn.Module):
    """Mixing between tokens, then an MLP, each modulated by the condition (adaptive layer norm, Peebles & Xie 2023).

    Mixing is the sum of attention over relative positions, for reach, and a depthwise convolution, for transport by
    a few cells.
    """

    def __init__(self, grid: TokenGrid, settings: BackboneSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.mix_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = RelativeAttention(width, settings.heads, grid)
        self.conv = DepthwiseConv(width, grid, CONV_WIDTH)
        self.mlp_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.up = nn.Linear(width, settings.mlp_ratio * width)
        self.down = nn.Linear(settings.mlp_ratio * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        with torch.no_grad():  # identity modulation: shift 0, scale 1, gate 1
            self.modulation.bias.zero_()
            self.modulation.bias.view(6, width)[[2, 5]] = 1.0

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, tokens, hidden), condition (B, hidden) -> (B, tokens, hidden)."""
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(condition).unsqueeze(1).chunk(6, dim=-1)
        y = self.mix_norm(x) * (1 + scale) + shift
        x = x + gate * (self.attention(y) + self.conv(y))
        y = self.mlp_norm(x) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.gelu(self.up(y)))


class Backbone(nn.Module):
    """Tokens in, tokens out, zero at the start: the last layer has zero weights.

    Args:
        grid: arrangement of the tokens.
        inputs: channels of the input tokens.
        outputs: channels of the output tokens.
        parameters: number of PDE parameters.
        reference_dt: time step of the training data.
        noise: whether the network is conditioned on a noise level.
    """

    def __init__(
        self,
        grid: TokenGrid,
        inputs: int,
        outputs: int,
        settings: BackboneSettings,
        *,
        parameters: int,
        reference_dt: float,
        noise: bool = False,
    ) -> None:
        super().__init__()
        self.condition = ConditionEmbedding(parameters, settings.hidden, reference_dt, noise)
        self.lift = TokenLinear(grid, inputs, settings.hidden)
        self.blocks = nn.ModuleList(Block(grid, settings) for _ in range(settings.depth))
        self.head = TokenLinear(grid, settings.hidden, outputs)
        self.head.start_at_zero()
        self.half_precision = False
        """Run the blocks' matrix products in bf16. The residual stream, norms, ends and losses stay in fp32."""

    def forward(self, tokens: Tensor, cond: Tensor, dt: Tensor, log_sigma: Tensor | None = None) -> Tensor:
        """tokens (B, tokens, inputs), cond (B, P), dt (B,), log_sigma (B,) or None -> (B, tokens, outputs)."""
        condition = self.condition(cond, dt, log_sigma)
        x = self.lift(tokens)
        # Tensors without numbers, on which memory is foreseen, are of a device that autocast does not know.
        device = tokens.device.type if self.half_precision else "cpu"
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.half_precision):
            for block in self.blocks:
                x = block(x, condition)
        return self.head(x.float())


def upgraded_backbone(weights: Weights, grid: TokenGrid) -> Weights:
    """Weights of the first version, which had nothing of its own at the ends of an axis; they compute the same."""
    ends = end_tokens(grid).shape[1]
    if not ends:
        return weights
    added = {
        key.replace("weight", "ends.weight"): weight.new_zeros(ends * weight.shape[0], weight.shape[1])
        for key, weight in weights.items()
        if key.endswith(("lift.weight", "head.weight"))
    }
    biases = {key.replace("weight", "bias"): weight.new_zeros(len(weight)) for key, weight in added.items()}
    return weights | added | biases
