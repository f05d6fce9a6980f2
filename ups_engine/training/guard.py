"""The guard against non-finite losses: the step is skipped on the device, the report follows at the next reading."""

from collections.abc import Callable

import torch
from torch import Tensor

from ups_engine.errors import TrainingError


class NonFiniteGuard:
    """Skips optimiser steps whose loss or gradient is not finite, without a host-device copy per step.

    The fused optimisers take a flag on the device, as they do for gradient scaling; a raised flag makes their step a
    no-op, moments and step count included.

    Args:
        optimiser: fused.
        limit: skipped steps in a row that fail the stage.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, limit: int) -> None:
        self._optimiser = optimiser
        self._limit = limit
        self._pending: list[tuple[int, int, Tensor]] = []
        self.in_a_row = 0

    def watch(self, epoch: int, step: int, loss: Tensor, gradient_norm: Tensor) -> Tensor:
        """Judge a step before the optimiser takes it: 1 where it will, 0 where it will skip it; on the device."""
        flag = (~torch.isfinite(loss.detach() + gradient_norm)).float().reshape(())
        self._optimiser.found_inf = flag  # type: ignore[attr-defined]
        self._pending.append((epoch, step, flag))
        return 1 - flag

    def read(self, report: Callable[[int, int], None]) -> None:
        """Read the flags since the last reading, in one copy.

        Args:
            report: told (epoch, step) of every skipped step.

        Raises:
            TrainingError: as many steps in a row as the limit were skipped.
        """
        if not self._pending:
            return
        flags = torch.stack([flag for _, _, flag in self._pending]).tolist()
        steps, self._pending = self._pending, []
        for (epoch, step, _), flag in zip(steps, flags, strict=True):
            self.in_a_row = self.in_a_row + 1 if flag else 0
            if flag:
                report(epoch, step)
            if self.in_a_row >= self._limit:
                raise TrainingError(
                    f"the loss was not finite in {self._limit} steps in a row, the last one epoch {epoch} step {step}",
                    "lower the learning rate, clip gradients (training.grad_clip), or use training.precision = fp32",
                )
