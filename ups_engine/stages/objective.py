"""The loss that the operator and the steady prior share: which of its terms count at a moment, and how much."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ups_engine.config.training import LOSS_WEIGHTS, TrainingSettings
from ups_engine.losses.terms import TERMS, Need, compute_inverse_loss_curriculum_weight
from ups_engine.training.task import Moment


class Objective:
    """The settings' loss terms.

    Args:
        training: settings of the step loop.
        device: where losses are computed.
        inverse: whether the inverse losses may take part.
    """

    def __init__(self, training: TrainingSettings, device: torch.device, *, inverse: bool) -> None:
        self._training, self._device, self._inverse = training, device, inverse
        self._tensors: dict[tuple[float, ...], Tensor] = {}

    def at(self, moment: Moment) -> tuple[tuple[str, ...], Tensor]:
        """Names of the terms that count, and their weights (terms,) on the device."""
        weights = self._weights(moment)
        values = tuple(weights.values())
        if values not in self._tensors:  # copied to the device when they change, which is once an epoch at most
            self._tensors = {values: torch.tensor(values, device=self._device)}
        return tuple(weights), self._tensors[values]

    def _weights(self, moment: Moment) -> Mapping[str, float]:
        training = self._training
        inverse = (
            self._inverse and training.use_inverse_losses and moment.total_step % training.inverse_loss_frequency == 0
        )
        weights = {}
        for name in LOSS_WEIGHTS:
            weight: float = getattr(training, f"lambda_{name}")
            if TERMS[name].inverse:
                warmup, most = training.inverse_loss_warmup_epochs, training.inverse_loss_max_weight
                weight = compute_inverse_loss_curriculum_weight(moment.epoch, weight, warmup, most) if inverse else 0.0
            if weight:
                weights[name] = weight
        return weights


def needs(names: tuple[str, ...]) -> frozenset[Need]:
    """What has to be made of a prediction for some terms."""
    return frozenset().union(*(TERMS[name].needs for name in names))
