"""Settings of the stages, in the order in which they run."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ups_engine.config.section import Section
from ups_engine.config.training import Decay, LossKind, OptimizerSettings, SchedulerSettings, TauSettings


class StageSettings(Section):
    """What every training stage has. All but the first two fall back to `training`, key by key."""

    LOSSES: ClassVar[frozenset[LossKind]] = frozenset()
    """Kinds of the weights in `training` that its steps have; empty for a stage with a loss of its own."""

    epochs: NonNegativeInt
    """Passes over the training samples; 0 skips the stage."""
    max_steps: PositiveInt | None = None
    """Optimiser steps after which the stage ends, whatever its epochs."""
    batch_size: PositiveInt
    accum_steps: PositiveInt
    grad_clip: NonNegativeFloat
    ema_decay: Decay
    patience: PositiveInt | None = None
    optimizer: OptimizerSettings
    scheduler: SchedulerSettings

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.epochs and self.scheduler.warmup_epochs > self.epochs:
            raise ValueError(
                f"a warm-up of {self.scheduler.warmup_epochs:g} epochs does not fit into"
                f" {self.epochs} epochs; lower scheduler.warmup_epochs or raise epochs"
            )
        return self


class AutoencoderSettings(StageSettings):
    """Encoder and decoder, trained together on fields.

    `epochs` is an upper bound: where they lose nothing before training, one is enough.
    """

    frames_per_trajectory: PositiveInt
    """Frames drawn from each training trajectory in an epoch."""
    lambda_inv_dec: NonNegativeFloat
    """Weight of encode(decode(z)) against z."""


class CurriculumStep(Section):
    """From an epoch on, train on this many unrolled steps."""

    from_epoch: NonNegativeInt
    rollout_horizon: PositiveInt


class OperatorSettings(StageSettings):
    """The latent evolution operator."""

    LOSSES = frozenset({"always", "unrolled", "inverse"})

    curriculum: tuple[CurriculumStep, ...]
    """Unrolled horizon by epoch, growing; before the first entry `training.rollout_horizon` holds."""

    @model_validator(mode="after")
    def _curriculum_in_order(self) -> Self:
        starts = [step.from_epoch for step in self.curriculum]
        if starts != sorted(set(starts)):
            raise ValueError(f"curriculum entries must have rising from_epoch values, not {starts}")
        late = [start for start in starts if start >= max(self.epochs, 1)]
        if self.epochs and late:
            raise ValueError(f"curriculum starts at epoch {late[0]}, but the stage has {self.epochs} epochs")
        return self


class NoiseSettings(Section):
    """Noise levels of the diffusion residual, in units of the residual's standard deviation (Karras et al. 2022)."""

    sigma_min: PositiveFloat
    sigma_max: PositiveFloat
    rho: PositiveFloat

    @model_validator(mode="after")
    def _levels_in_order(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min = {self.sigma_min} must be below sigma_max = {self.sigma_max}")
        return self


class DiffResidualSettings(StageSettings):
    """The diffusion corrector of the operator's residual."""

    noise: NoiseSettings
    tau_distribution: TauSettings
    """Of this stage; falls back to `training.tau_distribution`."""
    sampling_steps: PositiveInt
    """Network evaluations of one correction."""
    temperature: NonNegativeFloat
    """Scale of the initial noise of a correction: 0 the central estimate, 1 a draw from the distribution."""


class ConsistencySettings(StageSettings):
    """The few-step student of the diffusion corrector."""

    distill_num_taus: Annotated[int, Field(ge=2)]
    """Noise levels of the discretised teacher trajectory."""
    tau_schedule: tuple[Annotated[int, Field(ge=2)], ...]
    """Number of noise levels by equal parts of the stage; overrides `distill_num_taus`."""
    distill_micro_batch: PositiveInt | None = None
    """Samples passed through teacher and student at a time; unset means the whole batch."""
    target_loss: PositiveFloat | None = None
    """Distillation loss over an epoch at which the stage ends early."""
    target_decay: Decay
    """Decay of the target network, a moving average of the student."""
    sampling_steps: PositiveInt
    """Network evaluations of one correction."""


class SteadyPriorSettings(StageSettings):
    """The map from an encoded input to the steady latent, or to the last frame of a transient."""

    LOSSES = frozenset({"always"})


class EvaluationSettings(Section):
    """The evaluation in physical units."""

    epochs: Annotated[int, Field(ge=0, le=1)]
    """0 skips the evaluation."""
    split: Literal["train", "val", "test"]
    initial_steps: PositiveInt
    """Frames given; the rest is predicted. PDEBench gives 10."""
    batch_size: PositiveInt
    """Trajectories rolled out at a time."""


class StagesSettings(Section):
    """All stages, in order."""

    autoencoder: AutoencoderSettings
    operator: OperatorSettings
    diff_residual: DiffResidualSettings
    consistency_distill: ConsistencySettings
    steady_prior: SteadyPriorSettings
    evaluation: EvaluationSettings
