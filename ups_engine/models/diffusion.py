r"""The diffusion model of the operator's residual, and its consistency student.

The residual r of the operator's prediction is divided by a unit (see `ResidualModel.unit`), so that noise levels sigma
count in units of its standard deviation (sigma_data = 1). A network F, conditioned on z0, the prediction and the PDE's
parameters, gives by preconditioning

    D(x; sigma) = c_skip x + c_out F(c_in x; sigma),
    c_skip = 1 / (sigma^2 + 1),  c_out = sigma / sqrt(sigma^2 + 1),  c_in = 1 / sqrt(sigma^2 + 1)

the denoiser of Karras et al. (2022), "Elucidating the design space of diffusion-based generative models", and

    f(x; sigma) = x at sigma_min:  c_skip = 1 / ((sigma - sigma_min)^2 + 1),
                                   c_out = (sigma - sigma_min) / sqrt(sigma^2 + 1)

the consistency function of Song et al. (2023), "Consistency models", whose boundary condition holds by construction.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ups_engine.config.models import BackboneSettings
from ups_engine.config.stages import NoiseSettings
from ups_engine.models.backbone import Backbone
from ups_engine.models.tokens import TokenGrid

SMALLEST_AMPLITUDE = 1e-3
"""Amplitude of a state that residuals are measured by, at least, in normalised units."""


class ResidualModel(nn.Module):
    """The network F with the residual's unit; teacher and student differ only in their preconditioning.

    Args:
        grid: arrangement of the tokens.
        dim: latent channels.
        noise: noise levels.
        parameters: number of PDE parameters.
        reference_dt: time step of the training pairs.
    """

    scale: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        grid: TokenGrid,
        dim: int,
        settings: BackboneSettings,
        noise: NoiseSettings,
        *,
        parameters: int,
        reference_dt: float,
    ) -> None:
        super().__init__()
        self.noise = noise
        self.backbone = Backbone(
            grid, 3 * dim, dim, settings, parameters=parameters, reference_dt=reference_dt, noise=True
        )
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def unit(self, prediction: Tensor) -> Tensor:
        """What a residual is measured in, (B, 1, dim): scale * amplitude(prediction) / std.

        The residual counts as it appears in the field: a channel in proportion to its share of the encoding, and a
        sample relative to the size of its state, because errors are judged relative to it. The amplitude is the root
        mean square of the encoding before standardisation; `mean` and `std` are those of the encoder.
        """
        amplitude = (prediction * self.std + self.mean).square().mean((1, 2), keepdim=True).sqrt()
        return self.scale * amplitude.clamp_min(SMALLEST_AMPLITUDE) / self.std

    def raw(self, x: Tensor, sigma: Tensor, context: "Context") -> Tensor:
        """F(c_in x; sigma) for x (B, tokens, dim), sigma (B,)."""
        tokens = torch.cat([x / (per_sample(sigma) ** 2 + 1).sqrt(), context.prediction, context.z0], dim=-1)
        return self.backbone(tokens, context.cond, context.dt, torch.log(sigma))

    def level(self, tau: Tensor) -> Tensor:
        """Noise level of a diffusion time tau in [0, 1], by the rho schedule of Karras et al., equation 5."""
        low, high = self.noise.sigma_min ** (1 / self.noise.rho), self.noise.sigma_max ** (1 / self.noise.rho)
        return (low + tau * (high - low)) ** self.noise.rho

    def levels(self, count: int, device: torch.device) -> Tensor:
        """`count` noise levels, falling from sigma_max to sigma_min."""
        return self.level(torch.linspace(1.0, 0.0, count, device=device))

    def sample(self, context: "Context", noise: Tensor, steps: int, temperature: float) -> Tensor:
        """A correction of the prediction.

        Args:
            noise: standard normal (n, B, tokens, dim): n >= 1 for the teacher, which uses noise[0]; n = steps for the
                student.
            steps: network evaluations.
            temperature: scale of the noise.

        Returns:
            Residual in latent units (B, tokens, dim).
        """
        raise NotImplementedError


class Context(NamedTuple):
    """What a correction is conditioned on."""

    z0: Tensor
    """Latent the step started from, (B, tokens, dim)."""
    prediction: Tensor
    """Of the operator, as the encoding of a field, (B, tokens, dim)."""
    cond: Tensor
    """PDE parameters (B, P)."""
    dt: Tensor
    """Time step (B,)."""


class DiffusionResidual(ResidualModel):
    """The denoiser D, sampled along its probability-flow ODE."""

    def forward(self, x: Tensor, sigma: Tensor, context: Context) -> Tensor:
        """D(x; sigma): x (B, tokens, dim) in units of the residual, sigma (B,) -> the same shape as x."""
        s = per_sample(sigma)
        return x / (s**2 + 1) + s / (s**2 + 1).sqrt() * self.raw(x, sigma, context)

    def slope(self, x: Tensor, sigma: Tensor, context: Context) -> Tensor:
        """dx/dsigma of the probability-flow ODE, Karras et al., equation 3."""
        return (x - self(x, sigma, context)) / per_sample(sigma)

    def sample(self, context: Context, noise: Tensor, steps: int, temperature: float) -> Tensor:
        """See `ResidualModel.sample`: `steps` Euler steps from sigma_max to zero."""
        levels = torch.cat([self.levels(steps, noise.device), noise.new_zeros(1)])
        x = temperature * levels[0] * noise[0]
        for now, after in pairwise(levels):
            x = x + (after - now) * self.slope(x, now.expand(len(x)), context)
        return x * self.unit(context.prediction)


class ConsistencyResidual(ResidualModel):
    """The consistency function f: from any point of the teacher's trajectory to its end in one evaluation."""

    def forward(self, x: Tensor, sigma: Tensor, context: Context) -> Tensor:
        """f(x; sigma): x (B, tokens, dim) in units of the residual, sigma (B,) -> the same shape as x."""
        s = per_sample(sigma)
        above = s - self.noise.sigma_min
        return x / (above**2 + 1) + above / (s**2 + 1).sqrt() * self.raw(x, sigma, context)

    def sample(self, context: Context, noise: Tensor, steps: int, temperature: float) -> Tensor:
        """See `ResidualModel.sample`.

        Every evaluation after the first starts from its predecessor's result, noised again (Song et al., algorithm 1).
        """
        x = torch.zeros_like(noise[0])
        for i, sigma in enumerate(self.levels(steps + 1, noise.device)[:steps]):
            spread = sigma if i == 0 else (sigma**2 - self.noise.sigma_min**2).sqrt()
            x = x + temperature * spread * noise[i]
            x = self(x, sigma.expand(len(x)), context)
        return x * self.unit(context.prediction)


def per_sample(sigma: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1)."""
    return sigma[:, None, None]
