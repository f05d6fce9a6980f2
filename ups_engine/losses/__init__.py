"""Losses: plain functions of tensors, and the terms of the operator's loss that are made of them."""

from ups_engine.losses.functions import (
    consistency_loss,
    edge_total_variation,
    inverse_decoding_loss,
    inverse_encoding_loss,
    mse,
    one_step_loss,
    relative_loss,
    rollout_loss,
    spectral_loss,
)
from ups_engine.losses.terms import (
    TERMS,
    LossBundle,
    Prediction,
    Term,
    compute_inverse_loss_curriculum_weight,
    compute_operator_loss_bundle,
    prediction_loss,
)

__all__ = [
    "TERMS",
    "LossBundle",
    "Prediction",
    "Term",
    "compute_inverse_loss_curriculum_weight",
    "compute_operator_loss_bundle",
    "consistency_loss",
    "edge_total_variation",
    "inverse_decoding_loss",
    "inverse_encoding_loss",
    "mse",
    "one_step_loss",
    "prediction_loss",
    "relative_loss",
    "rollout_loss",
    "spectral_loss",
]
