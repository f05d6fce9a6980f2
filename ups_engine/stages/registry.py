"""The training stages in the order in which they run."""

from ups_engine.stages import autoencoder, consistency_distill, diff_residual, operator, steady_prior
from ups_engine.stages.base import Stage

TRAINING_STAGES: tuple[Stage, ...] = (
    autoencoder.STAGE,
    operator.STAGE,
    diff_residual.STAGE,
    consistency_distill.STAGE,
    steady_prior.STAGE,
)
