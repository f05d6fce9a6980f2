"""Losses on their way from the device to the log."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Readings:
    """Holds what steps measured on the device until somebody reads it.

    Args:
        clock: in seconds, for the throughput.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._losses: list[Tensor] = []
        self._newest: dict[str, Tensor] = {}
        self._samples = 0
        self._throughput: float | None = None
        self.since = self._clock()

    def add(self, loss: Tensor, norm: Tensor, components: Mapping[str, Tensor], samples: int) -> None:
        """Take a step's figures, unread."""
        self._losses.append(loss)
        self._newest = {"loss": loss, "grad_norm": norm, **components}
        self._samples += samples

    def latest(self) -> dict[str, object]:
        """The newest step's figures and the throughput up to it, empty before the first; waits for the device."""
        if not self._newest:
            return {}
        if self._samples:
            self._throughput = self._samples / max(self._clock() - self.since, 1e-9)
        loss, norm, *components = torch.stack(list(self._newest.values())).float().tolist()
        names = list(self._newest)[2:]
        return {
            "loss": loss,
            "grad_norm": norm,
            "components": dict(zip(names, components, strict=True)),
            "throughput": self._throughput,
        }

    def take(self) -> list[float]:
        """All losses since the last call; waits for the device."""
        losses: list[float] = torch.stack(self._losses).double().tolist() if self._losses else []
        self._losses, self._samples, self.since = [], 0, self._clock()
        return losses
