"""Stage `operator`: the latent evolution operator z1 = z0 + G(z0, dt, cond).

Trained on one step, then on an unrolled horizon that grows by `curriculum`. Between unrolled steps the latent is
decoded and encoded again, exactly as in a rollout. The relative and decoded terms compare decoded fields: they weigh
latent errors by what they do to the field, and by the field's own size, as the metric does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ups_engine.config.schema import Settings
from ups_engine.data.normalisation import Normalisation
from ups_engine.data.pairs import PairBatch
from ups_engine.evaluation.rollout import Protocol, spread, try_surrogate
from ups_engine.losses import (
    LossBundle,
    LossWeights,
    compute_inverse_loss_curriculum_weight,
    compute_operator_loss_bundle,
)
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.stages.base import Stage, StageTask
from ups_engine.stages.context import StageContext
from ups_engine.stages.networks import max_horizon
from ups_engine.training.task import Draw

VALIDATED = 32
"""Validation trajectories that an epoch is judged by, at most."""


class OperatorTask(StageTask):
    """Unrolled prediction of cached latents."""

    network: LatentOperator

    def __init__(self, context: StageContext) -> None:
        self._context, self._settings = context, context.settings
        self._encoder = context.frozen("encoder", GridEncoder)
        self._decoder = context.frozen("decoder", GridDecoder)
        self.network = context.fresh("operator", LatentOperator)
        self._pairs = context.pairs("train", max_horizon(self._settings))
        self.samples = len(self._pairs)

    def loss(self, batch: Tensor, draw: Draw) -> LossBundle:
        """Of pair numbers; see the module's page."""
        weights = loss_weights(self._settings, draw)
        inverse = bool(weights.inv_enc or weights.inv_dec)
        pairs = self._pairs.batch(batch, horizon=horizon_at(self._settings, draw.epoch), with_fields=inverse)
        predicted, decoded = self._unroll(pairs, weights)
        first = predicted[:, 0]
        spectral = (predicted.flatten(0, 1), pairs.future.flatten(0, 1))
        truth = self._decoder(pairs.future.flatten(0, 1)) if decoded is not None else None
        fields = None if decoded is None or truth is None else (decoded.flatten(0, 1), truth)
        again = self._encoder(decoded[:, 0]) if weights.inv_dec and decoded is not None else None
        return compute_operator_loss_bundle(
            forward=(first, pairs.z1),
            rollout=(predicted[:, 1:], pairs.future[:, 1:]) if predicted.shape[1] > 1 else None,
            spectral=spectral,
            relative=physical(fields, self._context.dataset.normalisation) if weights.relative else None,
            decoded=fields,
            inv_enc=(decoded[:, 0], pairs.input_fields)
            if decoded is not None and pairs.input_fields is not None
            else None,
            inv_dec=(again, first) if again is not None else None,
            weights=weights,
        )

    def _unroll(self, pairs: PairBatch, weights: LossWeights) -> tuple[Tensor, Tensor | None]:
        """Predicted latents (B, H, tokens, dim) and, where a term or the next step needs them, decoded fields."""
        steps = pairs.future.shape[1]
        needed = steps > 1 or any((weights.relative, weights.decoded, weights.inv_enc, weights.inv_dec))
        z, predicted, decoded = pairs.z0, [], []
        for step in range(steps):
            predicted.append(self.network(z, pairs.cond, pairs.dt))
            if needed:
                decoded.append(self._decoder(predicted[-1]))
            if step + 1 < steps:
                z = self._encoder(decoded[-1])
        return torch.stack(predicted, dim=1), torch.stack(decoded, dim=1) if decoded else None

    def announce(self, numbers: Tensor) -> None:
        """See `Task.announce`."""
        self._pairs.announce(numbers)

    def describe(self, batch: Tensor) -> str:
        """See `Task.describe`."""
        trajectories, frames = self._pairs.index[batch[:8].cpu().numpy()]
        return ", ".join(f"trajectory {t} frame {f}" for t, f in zip(trajectories, frames, strict=True))

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Rollout nRMSE from frame 0 in physical units decides; the single-step nRMSE is told too."""
        assert isinstance(network, LatentOperator)
        surrogate = Surrogate(self._encoder, self._decoder, network).eval()
        dataset, evaluation = self._context.dataset, self._settings.stages.evaluation
        protocol = Protocol(spread(dataset.splits.val, VALIDATED), 1, evaluation.batch_size)
        context = self._context
        noise = context.noise("validation")
        trial = try_surrogate(surrogate, dataset, protocol, context.device, noise, context.between)
        return {"score": trial.rollout.nrmse, "one_step_nrmse": trial.one_step.nrmse}

    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The operator and its moving average."""
        return {"operator": network, "operator_ema": averaged}


def physical(pair: tuple[Tensor, Tensor] | None, normalisation: Normalisation) -> tuple[Tensor, Tensor] | None:
    """Normalised fields in physical units, in which relative errors are meant."""
    return None if pair is None else (normalisation.invert(pair[0]), normalisation.invert(pair[1]))


def horizon_at(settings: Settings, epoch: int) -> int:
    """Unrolled steps at an epoch."""
    horizon = settings.training.rollout_horizon
    for step in settings.stages.operator.curriculum:
        if epoch >= step.from_epoch:
            horizon = step.rollout_horizon
    return horizon


def loss_weights(settings: Settings, draw: Draw) -> LossWeights:
    """The settings' weights at a step; the inverse losses follow their curriculum and frequency."""
    training = settings.training
    inverse = training.use_inverse_losses and draw.total_step % training.inverse_loss_frequency == 0

    def grown(base: float) -> float:
        if not inverse:
            return 0.0
        warmup, most = training.inverse_loss_warmup_epochs, training.inverse_loss_max_weight
        return compute_inverse_loss_curriculum_weight(draw.epoch, base, warmup, most)

    return LossWeights(
        forward=training.lambda_forward,
        rollout=training.lambda_rollout,
        spectral=training.lambda_spectral,
        relative=training.lambda_relative,
        decoded=training.lambda_decoded,
        inv_enc=grown(training.lambda_inv_enc),
        inv_dec=grown(training.lambda_inv_dec),
    )


STAGE = Stage(
    name="operator",
    needs=("encoder", "decoder"),
    writes=("operator", "operator_ema"),
    make=OperatorTask,
    settings=lambda context: context.settings.stages.operator,
)
