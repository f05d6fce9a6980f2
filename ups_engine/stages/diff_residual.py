"""Stage `diff_residual`: a diffusion model of what the operator misses, r = z1 - P(z0 + G(z0)), P as in `Surrogate`.

The residual is measured in a unit that makes its mean square 1 and follows its size in the decoded field (see
`ResidualModel.unit`). Noise levels are drawn as sigma(tau), tau uniform or Beta; the loss is Karras et al. (2022),
equation 8, with their weighting (sigma^2 + 1) / sigma^2.
"""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor, nn

from ups_engine.config.training import TauSettings
from ups_engine.evaluation.rollout import Rollouts, accumulator, single_steps, spread, true_batches
from ups_engine.losses.terms import LossBundle
from ups_engine.models.diffusion import Context, DiffusionResidual, ResidualModel, per_sample
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.stages.base import PairTask, TrainingStage
from ups_engine.stages.context import StageContext
from ups_engine.stages.memory import Probe
from ups_engine.stages.variant import Variant
from ups_engine.training.task import Batch, Inputs

VALIDATED = 8
"""Validation trajectories of a member that an epoch is judged by, at most."""
SCALED_BY = 2048
"""Training pairs of a member that the residual's size is measured on, at most."""
QUANTILES = 1025


class ResidualTask(PairTask):
    """What teacher and student share: the operator, its residual, and their validation."""

    def __init__(self, context: StageContext) -> None:
        super().__init__(context, 1)
        self._operator = context.results.frozen("operator_ema", LatentOperator)

    def prepare(self, batch: Batch) -> Inputs:
        """Latents of pairs."""
        pairs = self._pairs[batch.member].take(batch.first, len(batch))
        return Inputs({"z0": pairs.z0, "z1": pairs.z1, "cond": pairs.cond, "dt": pairs.dt}, batch.noise)

    @torch.no_grad()
    def residual(self, z0: Tensor, z1: Tensor, cond: Tensor, dt: Tensor) -> tuple[Tensor, Context]:
        """True residuals (B, tokens, dim) in latent units, and what they are conditioned on."""
        prediction = self._encoder(self._decoder(self._operator(z0, cond, dt)))
        return z1 - prediction, Context(z0, prediction, cond, dt)

    @torch.no_grad()
    def fit_unit(self, network: ResidualModel) -> None:
        """Set the network's unit so that the weighted residual has mean square 1 over a sample of training pairs."""
        network.mean.copy_(self._encoder.mean)
        network.std.copy_(self._encoder.std)
        network.scale.fill_(1.0)
        squares = []
        for pairs in self._pairs:
            count = min(SCALED_BY, len(pairs))
            numbers = torch.linspace(0, len(pairs) - 1, count).round().long().to(self._context.device)
            for part in numbers.split(256):
                batch = pairs.at(part)
                residual, context = self.residual(batch.z0, batch.z1, batch.cond, batch.dt)
                squares.append((residual / network.unit(context.prediction)).square().mean())
        network.scale.copy_(torch.stack(squares).mean().sqrt().clamp_min(1e-12))

    @torch.no_grad()
    def one_step_error(self, corrector: ResidualModel | None, steps: int) -> float:
        """Relative error of single steps over validation trajectories, mean over members."""
        stages, context = self._context.settings.stages, self._context
        surrogate = Surrogate(
            self._encoder,
            self._decoder,
            self._operator,
            corrector,
            steps=steps,
            temperature=stages.diff_residual.temperature,
        ).eval()
        errors = []
        for member in self._members:
            rollouts = Rollouts(spread(member.splits.val, VALIDATED), 1, stages.evaluation.batch_size)
            scores = accumulator(member)
            for batch in true_batches(member, rollouts, context.device):
                noise = context.noise("validation")
                found = single_steps(surrogate, member, batch, noise, context.host.between)
                scores.update(found, batch.fields[:, 1:])
            errors.append(scores.scores().relative)
        return float(np.mean(errors))


class DiffResidualTask(ResidualTask):
    """Denoising of scaled residuals."""

    network: DiffusionResidual
    purposes = ("tau", "noise")

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        self._settings = context.settings.stages.diff_residual
        self.network = context.results.fresh("diffusion_residual", DiffusionResidual)
        self.fit_unit(self.network)
        self._quantiles = tau_quantiles(self._settings.tau_distribution).to(context.device)
        self._baseline = self.one_step_error(None, 0)

    def loss(self, inputs: Inputs) -> LossBundle:
        """See the module's page."""
        residual, context = self.residual(inputs["z0"], inputs["z1"], inputs["cond"], inputs["dt"])
        y, noise = residual / self.network.unit(context.prediction), inputs.noise
        sigma = self.network.level(draw_tau(self._quantiles, noise.uniform("tau", (len(y),))))
        denoised = self.network(y + per_sample(sigma) * noise.normal("noise", tuple(y.shape)), sigma, context)
        weight = per_sample((sigma**2 + 1) / sigma**2)
        loss = (weight * (denoised - y).square()).mean()
        return LossBundle(loss, {"L_denoise": loss.detach()})

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Single-step relative error of the corrected operator, beside that of the operator alone."""
        assert isinstance(network, DiffusionResidual)
        error = self.one_step_error(network, self._settings.sampling_steps)
        return {"score": error, "operator_error": self._baseline}

    def verdict(self, metrics: Mapping[str, float]) -> str | None:
        """See `StageTask.verdict`."""
        return no_help("diffusion residual", metrics)

    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The denoiser and its moving average."""
        return {"diffusion_residual": network, "diffusion_residual_ema": averaged}


def no_help(what: str, metrics: Mapping[str, float]) -> str | None:
    """Say so when a corrector does not lower the validation error."""
    if metrics["score"] < metrics["operator_error"]:
        return None
    return (
        f"the {what} does not help: single-step validation nRMSE {metrics['score']:.3g}"
        f" against {metrics['operator_error']:.3g} of the operator alone"
    )


def tau_quantiles(settings: TauSettings) -> Tensor:
    """Quantiles of tau at equal steps of probability, (QUANTILES,)."""
    probability = torch.linspace(0, 1, QUANTILES, dtype=torch.float64)
    if settings.type == "uniform":
        return probability.float()
    values = betaincinv(settings.alpha, settings.beta, probability.numpy())
    return torch.from_numpy(values).float()


def draw_tau(quantiles: Tensor, uniform: Tensor) -> Tensor:
    """Turn uniform draws (B,) into draws of tau by inverting its distribution function, linear between quantiles."""
    place = uniform * (len(quantiles) - 1)
    below = place.floor().long().clamp_max(len(quantiles) - 2)
    return torch.lerp(quantiles[below], quantiles[below + 1], place - below)


def residual_memory(probe: Probe, result: str, size: int) -> int:
    """Bytes that a step on `size` residuals takes with the network of a result."""
    frozen = tuple(probe.network(part) for part in ("encoder", "decoder", "operator"))
    network = probe.network(result)
    assert isinstance(network, ResidualModel)
    z, cond, dt = probe.batch(size)
    maps = size * probe.settings.models.diffusion.heads
    kept = probe.kept((network,), maps, lambda: (network.raw(z, dt, Context(z, z, cond, dt)),))
    return probe.total(network, frozen, kept + probe.decoded_bytes(size))


STAGE = TrainingStage(
    name="diff_residual",
    needs=("encoder", "decoder", "operator_ema"),
    writes=("diffusion_residual", "diffusion_residual_ema"),
    make=DiffResidualTask,
    version=2,
    memory=lambda probe: residual_memory(probe, "diffusion_residual", probe.settings.stages.diff_residual.batch_size),
    variant=Variant(
        name="diffusion",
        corrector="diffusion_residual_ema",
        steps=lambda settings: settings.stages.diff_residual.sampling_steps,
    ),
)
