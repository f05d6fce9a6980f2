"""Settings of the step loop, shared by all stages; a stage may override most of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ups_engine.config.section import Section

Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


class OptimizerSettings(Section):
    """An optimiser and its parameters."""

    name: Literal["adam", "adamw", "sgd"]
    lr: PositiveFloat
    """Peak learning rate."""
    weight_decay: NonNegativeFloat
    betas: tuple[Decay, Decay]
    """Moment decays of Adam and AdamW."""
    momentum: Decay
    """Momentum of SGD."""


class SchedulerSettings(Section):
    """The learning rate over a stage. `constant`, cosine and step decay act per step, plateau per epoch."""

    name: Literal["constant", "cosineannealinglr", "steplr", "reducelronplateau"]
    warmup_epochs: NonNegativeFloat
    """Epochs of linear warm-up before the schedule starts."""
    t_max: PositiveInt | None = None
    """Cosine: epochs to the minimum, warm-up included; unset means the stage's epochs."""
    eta_min: NonNegativeFloat
    """Cosine: learning rate at the end."""
    step_size: PositiveInt
    """Step: epochs between decays."""
    gamma: Annotated[float, Field(gt=0.0, le=1.0)]
    """Step: factor of a decay."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Plateau: factor of a decay."""
    patience: NonNegativeInt
    """Plateau: epochs without improvement before a decay, which comes at a validation."""


class TauSettings(Section):
    """Distribution of the diffusion time tau in (0, 1), 0 the least and 1 the most noise."""

    type: Literal["uniform", "beta"]
    alpha: PositiveFloat
    beta: PositiveFloat


LossKind = Literal["always", "unrolled", "inverse"]
"""When a loss counts: at every step, with a horizon above one, or under the curriculum of the inverse losses."""


@dataclass(frozen=True)
class LossWeight:
    """Marks a setting `lambda_<name>` as the weight of a loss term.

    Attributes:
        counts: when the term does.
    """

    counts: LossKind


class TrainingSettings(Section):
    """The step loop."""

    batch_size: PositiveInt
    """Samples of an optimiser step, before accumulation."""
    accum_steps: PositiveInt
    """Batches whose gradients are summed into one optimiser step."""
    grad_clip: NonNegativeFloat
    """Largest gradient norm; 0 leaves gradients alone."""
    ema_decay: Decay
    """Decay of the weights' moving average, approached by warm-up as (1 + n) / (10 + n)."""
    patience: PositiveInt | None = None
    """Epochs without a better validation score before a stage ends; unset runs all its epochs."""
    precision: Literal["fp32", "tf32", "bf16"]
    """Matrix arithmetic on a GPU: plain, tf32, or bf16 inside linear layers with an fp32 residual stream."""
    compile: bool
    """Compile the networks with torch.compile; falls back to eager with a warning."""
    nonfinite_limit: PositiveInt
    """Skipped steps in a row after which a stage fails."""
    log_interval: PositiveFloat
    """Seconds between readings of the running metrics."""
    checkpoint_interval: NonNegativeFloat
    """Seconds between resumable states; 0 saves one at every step."""
    min_epoch_steps: PositiveInt
    """Optimiser steps of an epoch, at least; few samples are gone through more than once to make them up."""
    validation_interval: PositiveInt
    """Epochs between validations; the last epoch is always validated."""
    rollout_horizon: PositiveInt
    """Unrolled steps of the operator's training pairs; `stages.operator.curriculum` may grow it."""

    use_inverse_losses: bool
    """Add the inverse losses to the operator stage, under their curriculum."""
    lambda_forward: Annotated[NonNegativeFloat, LossWeight("always")]
    lambda_rollout: Annotated[NonNegativeFloat, LossWeight("unrolled")]
    """Weight of the unrolled steps after the first; only with a horizon above one."""
    lambda_spectral: Annotated[NonNegativeFloat, LossWeight("always")]
    """Weight of the error of the latents' magnitudes by wave number, along the axes of the token grid."""
    lambda_relative: Annotated[NonNegativeFloat, LossWeight("always")]
    lambda_decoded: Annotated[NonNegativeFloat, LossWeight("always")]
    """Weight of the error of the decoded prediction, in normalised field units."""
    lambda_inv_enc: Annotated[NonNegativeFloat, LossWeight("inverse")]
    lambda_inv_dec: Annotated[NonNegativeFloat, LossWeight("inverse")]
    inverse_loss_warmup_epochs: NonNegativeInt
    inverse_loss_max_weight: NonNegativeFloat
    inverse_loss_frequency: PositiveInt
    """Inverse losses are computed at every n-th step."""
    tau_distribution: TauSettings
    optimizer: OptimizerSettings
    scheduler: SchedulerSettings

    @model_validator(mode="after")
    def _inverse_losses_have_weight(self) -> Self:
        if self.use_inverse_losses and not (self.lambda_inv_enc or self.lambda_inv_dec):
            raise ValueError("use_inverse_losses is on but both weights are 0; set lambda_inv_enc or lambda_inv_dec")
        return self


LOSS_WEIGHTS: Mapping[str, LossKind] = {
    key.removeprefix("lambda_"): mark.counts
    for key, field in TrainingSettings.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, LossWeight)
}
"""When each loss term that has a weight counts, by its name."""
