"""Mean and standard deviation per channel, from the training trajectories alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ups_engine.discretisation.arrays import Float32, Int64

if TYPE_CHECKING:
    import torch

MAX_TRAJECTORIES = 512
MIN_TRAJECTORIES = 32
MAX_BYTES = 128 * 2**20
PIECE_BYTES = 8 * 2**20


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Maps physical values to zero mean and unit variance per channel, and back.

    Args:
        mean: (C,) in physical units.
        std: (C,) in physical units, positive.
    """

    mean: Float32
    std: Float32
    _tensors: "dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor]]" = field(
        default_factory=dict, init=False, repr=False
    )

    def apply(self, values: "torch.Tensor") -> "torch.Tensor":
        """Normalise (..., C) physical values."""
        mean, std = self.tensors(values)
        return (values - mean) / std

    def invert(self, values: "torch.Tensor") -> "torch.Tensor":
        """Bring (..., C) normalised values back to physical units."""
        mean, std = self.tensors(values)
        return values * std + mean

    def tensors(self, values: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """Mean and deviation on a tensor's device, kept there: a training step copies nothing from the host."""
        import torch  # loaded already, or there would be no tensor

        key = (values.device, values.dtype)
        if key not in self._tensors:
            with torch.inference_mode(False):  # what is kept must also serve where gradients flow
                self._tensors[key] = (
                    torch.tensor(self.mean, device=values.device, dtype=values.dtype),
                    torch.tensor(self.std, device=values.device, dtype=values.dtype),
                )
        return self._tensors[key]

    def to_json(self) -> dict[str, list[float]]:
        """For the run's record; a round trip is exact."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Normalisation":
        """From the run's record."""
        return cls(np.asarray(stored["mean"], np.float32), np.asarray(stored["std"], np.float32))


def fit(
    read: Callable[[Int64, Int64], Float32],
    rows: Int64,
    frames: int,
    frame_bytes: int,
    constant: Callable[[list[int]], None] = lambda channels: None,
) -> Normalisation:
    """Measure mean and standard deviation over a bounded, evenly spaced sample.

    At most 512 trajectories are read, evenly spaced over the training rows: as many as fit into 128 MiB with all
    their frames, but 32 at least; if those are still too large, fewer frames of each, evenly spaced, but 2 at least.
    Sums are taken in float64 and merged piece by piece (Chan, Golub and LeVeque 1979), so memory stays at a few MiB.

    Args:
        read: trajectories (n,), frames (T',) -> (n, T', *space, C).
        rows: training trajectories.
        frames: frames of a trajectory.
        frame_bytes: what is read from the file for one frame.
        constant: is told the numbers of the channels that are taken for constant, where there are any.

    Returns:
        Statistics per channel; a channel that never varies gets standard deviation 1.
    """
    most = min(MAX_TRAJECTORIES, max(MIN_TRAJECTORIES, MAX_BYTES // (frames * frame_bytes)))
    sampled = rows[evenly(len(rows), most)]
    when = evenly(frames, max(2, MAX_BYTES // (len(sampled) * frame_bytes)))
    piece = max(1, PIECE_BYTES // (len(when) * frame_bytes))
    count, mean, square = 0, np.float64(0), np.float64(0)  # square: sum of squared deviations
    for start in range(0, len(sampled), piece):
        values = read(sampled[start : start + piece], when).astype(np.float64)
        values = values.reshape(-1, values.shape[-1])  # (n, C)
        own = values.mean(axis=0)
        values -= own
        total = count + len(values)
        square = square + np.square(values, out=values).sum(axis=0) + (own - mean) ** 2 * (count * len(values) / total)
        mean = mean + (own - mean) * (len(values) / total)
        count = total
    std = np.sqrt(square / count)
    flat = std <= 1e-6 * np.abs(mean)  # rounding, not variation
    if flat.any():
        constant(np.flatnonzero(flat).tolist())
    return Normalisation(np.asarray(mean, np.float32), np.where(flat, 1.0, std).astype(np.float32))


def evenly(n: int, most: int) -> Int64:
    """At most `most` of n numbers, evenly spaced from first to last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
