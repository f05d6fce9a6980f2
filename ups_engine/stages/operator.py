"""Stage `operator`: the latent evolution operator z1 = z0 + G(z0, dt, cond).

Trained on one step, then on an unrolled horizon that grows by `curriculum`. Between unrolled steps the latent is
decoded and encoded again, exactly as in a rollout. The relative and decoded terms compare decoded fields: they weigh
latent errors by what they do to the field, and by the field's own size, as the metric does.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ups_engine.config.schema import Settings
from ups_engine.evaluation.rollout import Rollouts, spread, try_surrogate
from ups_engine.losses.terms import LossBundle, Prediction, prediction_loss
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.stages.base import PairTask, TrainingStage
from ups_engine.stages.context import StageContext
from ups_engine.stages.memory import Probe
from ups_engine.stages.objective import Objective, needs
from ups_engine.stages.variant import Variant
from ups_engine.training.task import Batch, Inputs

VALIDATED = 32
"""Validation trajectories of a member that an epoch is judged by, at most."""


class Form(NamedTuple):
    """What a step computes: a loss of these terms over so many unrolled steps."""

    terms: tuple[str, ...]
    horizon: int


class OperatorTask(PairTask):
    """Unrolled prediction of cached latents."""

    network: LatentOperator

    def __init__(self, context: StageContext) -> None:
        super().__init__(context, max_horizon(context.settings))
        self._settings = context.settings
        self.network = self._initial(context)
        judged = self._members if self._settings.training.use_inverse_losses else ()
        self._fields = tuple(context.fields(member) for member in judged)
        self._objective = Objective(self._settings.training, context.device, inverse=True)

    def _initial(self, context: StageContext) -> LatentOperator:
        """The network that training begins with."""
        return context.results.fresh("operator", LatentOperator)

    def prepare(self, batch: Batch) -> Inputs:
        """Latents of pairs, and how they are judged at this moment."""
        terms, weights = self._objective.at(batch.moment)
        horizon = horizon_at(self._settings, batch.moment.epoch)
        pairs = self._pairs[batch.member].take(batch.first, len(batch), horizon)
        tensors = {"z0": pairs.z0, "future": pairs.future, "cond": pairs.cond, "dt": pairs.dt, "weights": weights}
        if "fields" in needs(terms):
            tensors["fields"] = self._fields[batch.member].gather(pairs.rows, pairs.frames + 1)
        return Inputs(tensors, batch.noise, Form(terms, horizon))

    def loss(self, inputs: Inputs) -> LossBundle:
        """See the module's page."""
        form = inputs.form
        assert isinstance(form, Form)
        wanted, future = needs(form.terms), inputs["future"]
        predicted, decoded = self._unroll(inputs, form.horizon, fields=bool(wanted))
        truth = self._decoder(future.flatten(0, 1)).unflatten(0, future.shape[:2]) if wanted else None
        prediction = Prediction(
            latents=(predicted, future),
            cells=self._encoder.grid.cells,
            decoded=None if decoded is None or truth is None else (decoded, truth),
            fields=inputs.tensors.get("fields"),
            encoded=self._encoder(decoded[:, 0]) if decoded is not None and "encoded" in wanted else None,
        )
        return prediction_loss(prediction, dict(zip(form.terms, inputs["weights"], strict=True)))

    def _unroll(self, inputs: Inputs, horizon: int, *, fields: bool) -> tuple[Tensor, Tensor | None]:
        """Predicted latents (B, H, tokens, dim) and, where a term or the next step needs them, decoded fields."""
        z, predicted, decoded = inputs["z0"], [], []
        for step in range(horizon):
            predicted.append(self.network(z, inputs["cond"], inputs["dt"]))
            if fields or horizon > 1:
                decoded.append(self._decoder(predicted[-1]))
            if step + 1 < horizon:
                z = self._encoder(decoded[-1])
        return torch.stack(predicted, dim=1), torch.stack(decoded, dim=1) if decoded else None

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Relative error of rollouts from frame 0 decides, that of single steps is told too; means over members."""
        assert isinstance(network, LatentOperator)
        surrogate = Surrogate(self._encoder, self._decoder, network).eval()
        context, size, errors = self._context, self._settings.stages.evaluation.batch_size, []
        for member in self._members:
            rollouts = Rollouts(spread(member.splits.val, VALIDATED), 1, size)
            noise = context.noise("validation")
            trial = try_surrogate(surrogate, member, rollouts, context.device, noise, context.host.between)
            errors.append((trial.rollout.relative, trial.one_step.relative))
        rollout, one_step = np.mean(errors, axis=0).tolist()
        return {"score": rollout, "one_step_error": one_step}

    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The operator and its moving average."""
        return {"operator": network, "operator_ema": averaged}


def horizon_at(settings: Settings, epoch: int) -> int:
    """Unrolled steps at an epoch."""
    horizon = settings.training.rollout_horizon
    for step in settings.stages.operator.curriculum:
        if epoch >= step.from_epoch:
            horizon = step.rollout_horizon
    return horizon


def max_horizon(settings: Settings) -> int:
    """The most steps that the operator is unrolled over, at any epoch of its stage."""
    steps = settings.stages.operator.curriculum
    return max([settings.training.rollout_horizon, *(step.rollout_horizon for step in steps)])


def memory(probe: Probe) -> int:
    """See `TrainingStage.memory`."""
    operator, decoder, encoder = (probe.network(name) for name in ("operator", "decoder", "encoder"))
    z0, cond, dt = probe.batch(probe.settings.stages.operator.batch_size)

    def step() -> tuple[Tensor, ...]:
        z, kept = z0, []
        for _ in range(max_horizon(probe.settings)):
            fields = decoder(operator(z, cond, dt))
            kept += [fields.square() for _ in range(3)]  # the terms of the loss keep differences of fields
            z = encoder(fields)
        return tuple(kept)

    maps = len(z0) * probe.settings.models.operator.heads
    return probe.total(operator, (decoder, encoder), probe.kept((operator, decoder, encoder), maps, step))


STAGE = TrainingStage(
    name="operator",
    needs=("encoder", "decoder"),
    writes=("operator", "operator_ema"),
    make=OperatorTask,
    version=2,
    memory=memory,
    variant=Variant(name="operator"),
)
