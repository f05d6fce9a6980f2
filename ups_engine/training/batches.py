"""Which samples a step takes, in which order, with which noise: pure functions of (seed, stage, epoch, step)."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ups_engine.training.randomness import keys, order
from ups_engine.training.task import Batch, Moment, Noise, Task


class Batches:
    """The batches of a stage. A step takes samples of one member of the collection, all members in proportion.

    Args:
        name: of the stage.
        task: whose samples they are.
        seed: of the run.
        size: samples of a batch.
        accumulated: batches of a step.
        least_steps: steps of an epoch, at least; few samples go round in a new order each time.
        device: where sample numbers go.
    """

    def __init__(
        self, name: str, task: Task, *, seed: int, size: int, accumulated: int, least_steps: int, device: torch.device
    ) -> None:
        self._name, self._task, self._seed, self._device = name, task, seed, device
        self.per_step = size * accumulated
        """Samples of a step."""
        self._size = min(size, task.micro_batch or size)
        self.steps = max(least_steps, sum(task.samples) // self.per_step)
        """Steps of an epoch."""
        self._numbers: tuple[Tensor, ...] = ()
        self._turns: list[tuple[int, int]] = []
        self._keys: dict[str, Tensor] = {}

    def begin_epoch(self, epoch: int) -> None:
        """Make the order and the noise of an epoch, and tell the task."""
        self._turns = self._turns_of(epoch)
        self._numbers = tuple(part.to(self._device) for part in self._orders(epoch, self._turns))
        steps = range(self.steps)
        self._keys = {
            purpose: keys(self._seed, self._name, epoch, steps, purpose).to(self._device)
            for purpose in self._task.purposes
        }
        self._task.begin_epoch(self._numbers)

    def of_step(self, moment: Moment) -> Iterator[tuple[float, Batch]]:
        """The batches of a step of the epoch that has begun, each with its share of the step's samples."""
        member, turn = self._turns[moment.step]
        numbers = self._numbers[member]
        begin, end = turn * self.per_step, min((turn + 1) * self.per_step, len(numbers))
        own = {purpose: rows[moment.step] for purpose, rows in self._keys.items()}
        for first in range(begin, end, self._size):
            last = min(first + self._size, end)
            rows = torch.arange(first - begin, last - begin, device=self._device)
            yield (last - first) / (end - begin), Batch(numbers[first:last], member, first, moment, Noise(own, rows))

    def describe(self, epoch: int, step: int) -> str:
        """Name the samples of a step."""
        turns = self._turns_of(epoch)
        member, turn = turns[step]
        numbers = self._orders(epoch, turns)[member][turn * self.per_step : (turn + 1) * self.per_step]
        return self._task.describe(member, numbers)

    def _turns_of(self, epoch: int) -> list[tuple[int, int]]:
        """For each step of an epoch the member that it belongs to, and how many steps that one has had before."""
        samples = self._task.samples
        if len(samples) == 1:
            return [(0, step) for step in range(self.steps)]
        # Evenly spread marks, each standing for the member in whose share of the samples it falls.
        marks = (np.arange(self.steps) + 0.5) * (sum(samples) / self.steps)
        members = np.searchsorted(np.cumsum(samples), marks, side="right")
        members = members[order(self.steps, seed=self._seed, stage=f"{self._name}/members", epoch=epoch)]
        before = [0] * len(samples)
        turns = []
        for member in members.tolist():
            turns.append((member, before[member]))
            before[member] += 1
        return turns

    def _orders(self, epoch: int, turns: Sequence[tuple[int, int]]) -> Sequence[Tensor]:
        """Sample numbers of an epoch of these turns, by member."""
        steps = np.bincount([member for member, _ in turns], minlength=len(self._task.samples))
        return [
            self._order(epoch, member, samples, int(steps[member])) for member, samples in enumerate(self._task.samples)
        ]

    def _order(self, epoch: int, member: int, samples: int, steps: int) -> Tensor:
        rounds = -(-steps * self.per_step // samples) if steps > 1 else 1
        stem = f"{self._name}/member{member}" if member else self._name
        names = [stem, *(f"{stem}/{number}" for number in range(1, rounds))]
        orders = [order(samples, seed=self._seed, stage=name, epoch=epoch) for name in names]
        return torch.from_numpy(np.concatenate(orders))
