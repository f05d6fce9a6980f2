"""What steps measure, on its way from the device to the log.

A step writes loss, gradient norm and the guard's verdict into a ring of memory on the device, at a place that is
counted there: nothing is read by the host, and a step that is captured in a CUDA graph writes on when it is replayed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

CAPACITY = 4096
"""Steps that fit between two readings."""


@dataclass(frozen=True)
class Reading:
    """A step's figures.

    Attributes:
        epoch: of the step.
        step: within the epoch.
        loss: of the step.
        skipped: whether the optimiser skipped it.
    """

    epoch: int
    step: int
    loss: float
    skipped: bool


class Readings:
    """Holds what steps measured on the device until somebody reads it.

    Args:
        clock: in seconds, for the throughput.
        device: where steps are taken.
    """

    def __init__(self, clock: Callable[[], float], device: torch.device) -> None:
        self._clock = clock
        self._ring = torch.zeros(CAPACITY, 3, device=device)  # loss, gradient norm, skipped
        self._place = torch.zeros(1, dtype=torch.int64, device=device)
        self._components: Mapping[str, Tensor] | None = None
        self._steps: list[tuple[int, int]] = []
        self._first = 0
        self._samples = 0
        self._throughput: float | None = None
        self.since = self._clock()

    @property
    def full(self) -> bool:
        """Whether the next step would write over one that was not read."""
        return len(self._steps) == CAPACITY

    def write(self, loss: Tensor, norm: Tensor, skipped: Tensor, components: Mapping[str, Tensor]) -> None:
        """Take a step's scalars down, on the device."""
        self._ring.index_copy_(0, self._place, torch.stack([loss.detach(), norm, skipped]).float()[None])
        self._place.add_(1).remainder_(CAPACITY)
        self._components = components

    def count(self, epoch: int, step: int, samples: int) -> None:
        """A step of so many samples was taken."""
        self._steps.append((epoch, step))
        self._samples += samples

    def latest(self) -> dict[str, object]:
        """The newest step's figures and the throughput up to it, empty before the first; waits for the device."""
        if self._components is None:
            return {}
        if self._samples:
            self._throughput = self._samples / max(self._clock() - self.since, 1e-9)
        newest = (self._first + len(self._steps) - 1) % CAPACITY
        loss, norm, _ = self._ring[newest].tolist()
        parts = list(self._components.values())
        values = torch.stack(parts).float().tolist() if parts else []
        return {
            "loss": loss,
            "grad_norm": norm,
            "components": dict(zip(self._components, values, strict=True)),
            "throughput": self._throughput,
        }

    def take(self) -> list[Reading]:
        """The figures of all steps since the last call; waits for the device."""
        steps, count = self._steps, len(self._steps)
        rows = torch.roll(self._ring, -self._first, 0)[:count].double().tolist() if count else []
        self._first = (self._first + count) % CAPACITY
        self._steps, self._samples, self.since = [], 0, self._clock()
        return [Reading(*at, loss, bool(skipped)) for at, (loss, _, skipped) in zip(steps, rows, strict=True)]
