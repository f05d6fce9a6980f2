"""What a stage gives the step loop: a network, its inputs and its loss, a validation.

A step has two halves. `prepare` fetches: it gathers samples and turns whatever depends on the time into tensors.
`loss` is mathematics: a pure function of those tensors, with no branch on their values, no reading of a number and no
copy from the host, so that it can be compiled, captured in a CUDA graph and replayed on other tensors.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ups_engine.losses.terms import LossBundle
from ups_engine.training.randomness import normal, uniform


@dataclass(frozen=True)
class Moment:
    """Where a stage is.

    Attributes:
        epoch: counted from 0.
        step: optimiser step within the epoch.
        total_step: optimiser step within the stage.
        progress: share of the stage's steps that is done, in [0, 1).
    """

    epoch: int
    step: int
    total_step: int
    progress: float


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of a batch: a pure function of seed, stage, epoch, step, purpose and the sample's place in the step.

    Attributes:
        keys: (2,) int64 by purpose, on the device; see `randomness.keys`.
        rows: (B,) int64 places of the batch's samples among those of the optimiser step, on the device.
    """

    keys: Mapping[str, Tensor]
    rows: Tensor

    def uniform(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Uniform on (0, 1), float32 on the device; shape[0] counts the batch's samples, each with its own noise."""
        return uniform(self.keys[purpose], shape, self.rows)

    def normal(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal, float32 on the device; shape[0] counts the batch's samples, each with its own noise."""
        return normal(self.keys[purpose], shape, self.rows)


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples to be prepared.

    Attributes:
        numbers: (B,) int64 on the device.
        member: of the collection, whose samples they are.
        first: place of the first of them among the member's numbers that `begin_epoch` announced.
        moment: of the step.
        noise: of the step.
    """

    numbers: Tensor
    member: int
    first: int
    moment: Moment
    noise: Noise

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that a loss depends on.

    Attributes:
        tensors: by name, on the device.
        noise: of the step.
        form: what else the computation depends on, such as the number of unrolled steps: steps of one form and of
            tensors of one shape are one computation.
    """

    tensors: Mapping[str, Tensor]
    noise: Noise
    form: Hashable = None

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


class Task(ABC):
    """The work of one training stage.

    Attributes:
        network: what is trained, on its device; its parameters stay the same tensors throughout. It is called, not
            reached into, so that it may be wrapped.
        samples: training samples of each member of the collection, numbered from 0.
        micro_batch: samples passed through the network at a time; None means a whole batch.
        purposes: of the noise that it draws.
    """

    network: nn.Module
    samples: tuple[int, ...]
    micro_batch: int | None = None
    purposes: ClassVar[tuple[str, ...]] = ()

    def begin_epoch(self, numbers: Sequence[Tensor]) -> None:  # noqa: B027 - a task may do without
        """Get ready for an epoch's batches, which are slices of these sample numbers, in this order.

        Args:
            numbers: (n,) int64 of each member, on the device. A resumed epoch starts somewhere within.
        """

    @abstractmethod
    def prepare(self, batch: Batch) -> Inputs:
        """Fetch what the loss of a batch depends on."""

    @abstractmethod
    def loss(self, inputs: Inputs) -> LossBundle:
        """The loss of a batch: a mean over its samples."""

    @abstractmethod
    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Measures on the validation split, lower is better; `score` decides which epoch is best.

        Args:
            network: the moving average of `self.network`, in evaluation mode.
        """

    def describe(self, member: int, numbers: Tensor) -> str:
        """Name samples of a member, for the report of a non-finite loss."""
        return f"samples {', '.join(map(str, numbers[:8].tolist()))}" + (" ..." if len(numbers) > 8 else "")

    def after_step(self, taken: Tensor) -> None:  # noqa: B027 - most tasks have nothing to do here
        """Follow an optimiser step, such as by updating a target network.

        Args:
            taken: scalar on the device, 1 where the optimiser took the step, 0 where it skipped it.
        """

    def effort(self, most: int) -> tuple[int, str | None]:
        """How many epochs the stage is worth, of at most so many, judged before the first; and why not all of them."""
        return most, None

    def ends_early(self, epoch_loss: float) -> str | None:
        """Why the stage needs no further epoch, or None."""
        return None

    def state(self) -> dict[str, Tensor]:
        """Tensors beside the network that a resumed stage needs; they are loaded back in place."""
        return {}
