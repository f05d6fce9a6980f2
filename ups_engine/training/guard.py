"""The guard against non-finite losses: the step is skipped on the device, the report follows at the next reading."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ups_engine.errors import TrainingError
from ups_engine.training.readings import Reading


class NonFiniteGuard:
    """Skips optimiser steps whose loss or gradient is not finite, without a host-device copy per step.

    The fused optimisers take a flag on the device, as they do for gradient scaling; a raised flag makes their step a
    no-op, moments and step count included. The flag is one tensor that every step writes.

    Args:
        optimiser: fused.
        limit: skipped steps in a row that fail the stage.
        device: where steps are taken.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, limit: int, device: torch.device) -> None:
        self.skipped = torch.zeros((), device=device)
        """1 where the optimiser will skip the step, else 0."""
        optimiser.found_inf = self.skipped  # type: ignore[attr-defined]
        self._limit = limit

    def watch(self, loss: Tensor, gradient_norm: Tensor) -> Tensor:
        """Judge a step before the optimiser takes it: 1 where it will, 0 where it will skip it; on the device."""
        self.skipped.copy_(~torch.isfinite(loss.detach() + gradient_norm))
        return 1 - self.skipped

    def judge(self, readings: Iterable[Reading], in_a_row: int, report: Callable[[int, int], None]) -> int:
        """Look at steps that were taken.

        Args:
            readings: of the steps, in their order.
            in_a_row: steps skipped in a row before them.
            report: told (epoch, step) of every skipped step.

        Returns:
            Steps skipped in a row up to the last of them.

        Raises:
            TrainingError: as many steps in a row as the limit were skipped.
        """
        for reading in readings:
            in_a_row = in_a_row + 1 if reading.skipped else 0
            if reading.skipped:
                report(reading.epoch, reading.step)
            if in_a_row >= self._limit:
                raise TrainingError(
                    f"the loss was not finite in {self._limit} steps in a row, the last one epoch {reading.epoch}"
                    f" step {reading.step}",
                    "lower the learning rate, clip gradients (training.grad_clip), or use training.precision = fp32",
                )
        return in_a_row
