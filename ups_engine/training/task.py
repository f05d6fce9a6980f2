"""What a stage gives the step loop: a network, a loss, a validation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ups_engine.losses import LossBundle
from ups_engine.training.randomness import keys, normal, uniform


class Task(ABC):
    """The work of one training stage.

    Attributes:
        network: what is trained, on its device; its parameters stay the same tensors throughout.
        samples: training samples of an epoch, numbered from 0.
        micro_batch: samples passed through the network at a time; None means a whole batch.
    """

    network: nn.Module
    samples: int
    micro_batch: int | None = None

    @abstractmethod
    def loss(self, batch: Tensor, draw: "Draw") -> LossBundle:
        """The loss of a batch of sample numbers (B,), int64 on the device: a mean over its samples."""

    def announce(self, numbers: Tensor) -> None:  # noqa: B027 - a task may do without
        """Get ready for an epoch's batches, which are slices of these sample numbers, in this order.

        Args:
            numbers: (n,) int64 on the device. A resumed epoch starts somewhere within.
        """

    @abstractmethod
    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Measures on the validation split, lower is better; `score` decides which epoch is best.

        Args:
            network: the moving average of `self.network`, in evaluation mode.
        """

    def describe(self, batch: Tensor) -> str:
        """Name a batch's samples, for the report of a non-finite loss."""
        return f"samples {', '.join(map(str, batch[:8].tolist()))}" + (" ..." if len(batch) > 8 else "")

    def after_step(self, taken: Tensor) -> None:  # noqa: B027 - most tasks have nothing to do here
        """Follow an optimiser step, such as by updating a target network.

        Args:
            taken: scalar on the device, 1 where the optimiser took the step, 0 where it skipped it.
        """

    def ends_early(self, epoch_loss: float) -> str | None:
        """Why the stage needs no further epoch, or None."""
        return None

    def state(self) -> dict[str, Tensor]:
        """Tensors beside the network that a resumed stage needs; they are loaded back in place."""
        return {}


@dataclass(frozen=True)
class Draw:
    """Where the stage is, and the noise that belongs there: a pure function of seed, stage, epoch and step.

    Attributes:
        epoch: counted from 0.
        step: optimiser step within the epoch.
        total_step: optimiser step within the stage.
        progress: share of the stage's steps that is done, in [0, 1).
        first: place of the batch's first sample among the samples of the optimiser step.
    """

    seed: int
    stage: str
    epoch: int
    step: int
    total_step: int
    progress: float
    first: int
    device: torch.device

    def uniform(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Uniform on (0, 1), float32 on the device; shape[0] counts the batch's samples, each with its own noise."""
        return uniform(self._key(purpose), shape, self._rows(shape))

    def normal(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal, float32 on the device; shape[0] counts the batch's samples, each with its own noise."""
        return normal(self._key(purpose), shape, self._rows(shape))

    def _rows(self, shape: tuple[int, ...]) -> Tensor:
        return torch.arange(self.first, self.first + shape[0], device=self.device)

    def _key(self, purpose: str) -> Tensor:
        steps = range(self.step, self.step + 1)
        return keys(self.seed, self.stage, self.epoch, steps, purpose)[0].to(self.device)
