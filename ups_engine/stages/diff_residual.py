"""Stage `diff_residual`: a diffusion model of what the operator misses, r = z1 - P(z0 + G(z0)), P as in `Surrogate`.

The residual is measured in a unit that makes its mean square 1 and follows its size in the decoded field (see
`ResidualModel.unit`). Noise levels are drawn as sigma(tau), tau uniform or Beta; the loss is Karras et al. (2022),
equation 8, with their weighting (sigma^2 + 1) / sigma^2.
"""

from collections.abc import Mapping

import torch
from scipy.special import betaincinv
from torch import Tensor, nn

from ups_engine.config.training import TauSettings
from ups_engine.data.pairs import LatentPairs, PairBatch
from ups_engine.evaluation.metrics import MetricAccumulator
from ups_engine.evaluation.rollout import Protocol, single_steps, spread, true_batches
from ups_engine.losses import LossBundle
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.diffusion import Context, DiffusionResidual, ResidualModel, per_sample
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Corrector, Surrogate
from ups_engine.stages.base import Stage, StageTask
from ups_engine.stages.context import StageContext
from ups_engine.training.task import Draw

VALIDATED = 8
"""Validation trajectories that an epoch is judged by, at most."""
SCALED_BY = 2048
"""Training pairs that the residual's size is measured on, at most."""
QUANTILES = 1025


class ResidualWork:
    """What teacher and student share: frozen networks, pairs, the residual, and their validation."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.encoder = context.frozen("encoder", GridEncoder)
        self.decoder = context.frozen("decoder", GridDecoder)
        self.operator = context.frozen("operator_ema", LatentOperator)
        self.pairs: LatentPairs = context.pairs("train", 1)

    @torch.no_grad()
    def residual(self, batch: Tensor) -> tuple[Tensor, Context]:
        """True residuals (B, tokens, dim) in latent units, and what they are conditioned on."""
        pairs: PairBatch = self.pairs.batch(batch)
        prediction = self.encoder(self.decoder(self.operator(pairs.z0, pairs.cond, pairs.dt)))
        return pairs.z1 - prediction, Context(pairs.z0, prediction, pairs.cond, pairs.dt)

    @torch.no_grad()
    def fit_unit(self, network: ResidualModel) -> None:
        """Set the network's unit so that the weighted residual has mean square 1 over a sample of training pairs."""
        network.mean.copy_(self.encoder.mean)
        network.std.copy_(self.encoder.std)
        network.scale.fill_(1.0)
        count = min(SCALED_BY, len(self.pairs))
        numbers = torch.linspace(0, len(self.pairs) - 1, count).round().long().to(self.context.device)
        squares = []
        for part in numbers.split(256):
            residual, context = self.residual(part)
            squares.append((residual / network.unit(context.prediction)).square().mean())
        network.scale.copy_(torch.stack(squares).mean().sqrt().clamp_min(1e-12))

    @torch.no_grad()
    def one_step_error(self, corrector: Corrector | None, steps: int) -> float:
        """nRMSE of single steps over validation trajectories, in physical units."""
        stages, dataset = self.context.settings.stages, self.context.dataset
        temperature = stages.diff_residual.temperature
        surrogate = Surrogate(
            self.encoder, self.decoder, self.operator, corrector, steps=steps, temperature=temperature
        ).eval()
        protocol = Protocol(spread(dataset.splits.val, VALIDATED), 1, stages.evaluation.batch_size)
        scores = MetricAccumulator()
        for batch in true_batches(dataset, protocol, self.context.device):
            noise, between = self.context.noise("validation"), self.context.between
            scores.update(single_steps(surrogate, dataset, batch, noise, between), batch.fields[:, 1:])
        return scores.scores().nrmse

    def describe(self, batch: Tensor) -> str:
        """Name a batch's pairs."""
        trajectories, frames = self.pairs.index[batch[:8].cpu().numpy()]
        return ", ".join(f"trajectory {t} frame {f}" for t, f in zip(trajectories, frames, strict=True))


class DiffResidualTask(StageTask):
    """Denoising of scaled residuals."""

    network: DiffusionResidual

    def __init__(self, context: StageContext) -> None:
        self._work = ResidualWork(context)
        self._settings = context.settings.stages.diff_residual
        self.network = context.fresh("diffusion_residual", DiffusionResidual)
        self._work.fit_unit(self.network)
        self.samples = len(self._work.pairs)
        self._quantiles = tau_quantiles(self._settings.tau_distribution).to(context.device)
        self._baseline = self._work.one_step_error(None, 0)

    def loss(self, batch: Tensor, draw: Draw) -> LossBundle:
        """Of pair numbers; see the module's page."""
        residual, context = self._work.residual(batch)
        y = residual / self.network.unit(context.prediction)
        sigma = self.network.level(draw_tau(self._quantiles, draw.uniform("tau", (len(batch),))))
        noise = draw.normal("noise", tuple(y.shape))
        denoised = self.network.denoise(y + per_sample(sigma) * noise, sigma, context)
        weight = per_sample((sigma**2 + 1) / sigma**2)
        loss = (weight * (denoised - y).square()).mean()
        return LossBundle(loss, {"L_denoise": loss.detach()})

    def announce(self, numbers: Tensor) -> None:
        """See `Task.announce`."""
        self._work.pairs.announce(numbers)

    def describe(self, batch: Tensor) -> str:
        """See `Task.describe`."""
        return self._work.describe(batch)

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Single-step nRMSE of the corrected operator, beside that of the operator alone."""
        assert isinstance(network, DiffusionResidual)
        error = self._work.one_step_error(network, self._settings.sampling_steps)
        return {"score": error, "operator_nrmse": self._baseline}

    def verdict(self, metrics: Mapping[str, float]) -> str | None:
        """See `StageTask.verdict`."""
        return no_help("diffusion residual", metrics)

    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The denoiser and its moving average."""
        return {"diffusion_residual": network, "diffusion_residual_ema": averaged}


def no_help(what: str, metrics: Mapping[str, float]) -> str | None:
    """Say so when a corrector does not lower the validation error."""
    if metrics["score"] < metrics["operator_nrmse"]:
        return None
    return (
        f"the {what} does not help: single-step validation nRMSE {metrics['score']:.3g}"
        f" against {metrics['operator_nrmse']:.3g} of the operator alone"
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


STAGE = Stage(
    name="diff_residual",
    needs=("encoder", "decoder", "operator_ema"),
    writes=("diffusion_residual", "diffusion_residual_ema"),
    make=DiffResidualTask,
    settings=lambda context: context.settings.stages.diff_residual,
)
