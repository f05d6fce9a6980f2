"""Mean and standard deviation per channel, from the training trajectories alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ups_engine.discretisation.arrays import Float64, Int64, Values
from ups_engine.errors import DataError

if TYPE_CHECKING:
    import torch

MAX_TRAJECTORIES = 512
MIN_TRAJECTORIES = 32
MAX_BYTES = 128 * 2**20
PIECE_BYTES = 8 * 2**20
_ROUNDING_STEPS = 4
"""A channel whose deviation is no more than so many steps of its number format is taken for constant."""
_COARSE_STEPS = 100
"""One whose deviation is no more than so many steps is told to be poorly resolved."""


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Maps physical values to zero mean and unit variance per channel, and back.

    Both ways in float64: where a mean is large beside the variation, a float32 of the physical value has no digits
    left for it. What networks see is cast to float32 after the mean is off.

    Args:
        mean: (C,) in physical units.
        std: (C,) in physical units, positive.
    """

    mean: Float64
    std: Float64
    _tensors: "dict[torch.device, tuple[torch.Tensor, torch.Tensor]]" = field(
        default_factory=dict, init=False, repr=False
    )

    def apply(self, values: "torch.Tensor") -> "torch.Tensor":
        """Normalise (..., C) physical values, as float32."""
        return self.scaled(values).float()

    def invert(self, values: "torch.Tensor") -> "torch.Tensor":
        """Bring (..., C) normalised values back to physical units, as float64."""
        mean, std = self._on(values.device)
        return values * std + mean

    def scaled(self, values: "torch.Tensor") -> "torch.Tensor":
        """Normalise (..., C) physical values, as float64."""
        mean, std = self._on(values.device)
        return (values - mean) / std

    def deviations(self, device: "torch.device") -> "torch.Tensor":
        """The standard deviations (C,) on a device, as float64."""
        return self._on(device)[1]

    def _on(self, device: "torch.device") -> "tuple[torch.Tensor, torch.Tensor]":
        """Mean and deviation on a device, kept there: a training step copies nothing from the host."""
        import torch  # loaded already, or there would be no tensor

        if device not in self._tensors:
            with torch.inference_mode(False):  # what is kept must also serve where gradients flow
                self._tensors[device] = (
                    torch.tensor(self.mean, device=device, dtype=torch.float64),
                    torch.tensor(self.std, device=device, dtype=torch.float64),
                )
        return self._tensors[device]

    def to_json(self) -> dict[str, list[float]]:
        """For the run's record; a round trip is exact."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From the run's record."""
        return cls(np.asarray(stored["mean"], np.float64), np.asarray(stored["std"], np.float64))


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was measured.

    Attributes:
        normalisation: mean and deviation; of a constant channel the deviation is the size of its value.
        constant: channels that vary by no more than the rounding of their number format.
        coarse: channels whose variation their number format resolves in few steps.
    """

    normalisation: Normalisation
    constant: tuple[int, ...]
    coarse: tuple[int, ...]


def fit(read: Callable[[Int64, Int64], Values], rows: Int64, frames: int, frame_bytes: int) -> Fitted:
    """Measure mean and standard deviation over a bounded, evenly spaced sample.

    At most 512 trajectories are read, evenly spaced over the training rows: as many as fit into 128 MiB with all
    their frames, but 32 at least; if those are still too large, fewer frames of each, evenly spaced, but 2 at least.
    Sums are taken in float64 and merged piece by piece (Chan, Golub and LeVeque 1979), so memory stays at a few MiB.

    Args:
        read: trajectories (n,), frames (T',) -> (n, T', *space, C).
        rows: training trajectories.
        frames: frames of a trajectory.
        frame_bytes: what is read from the file for one frame.

    Raises:
        DataError: values whose squares float64 does not hold.
    """
    most = min(MAX_TRAJECTORIES, max(MIN_TRAJECTORIES, MAX_BYTES // (frames * frame_bytes)))
    sampled = rows[evenly(len(rows), most)]
    when = evenly(frames, max(2, MAX_BYTES // (len(sampled) * frame_bytes)))
    piece = max(1, PIECE_BYTES // (len(when) * frame_bytes))
    count, mean, square = 0, np.float64(0), np.float64(0)  # square: sum of squared deviations
    number_format: np.dtype[Any] = np.dtype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        for start in range(0, len(sampled), piece):
            stored = read(sampled[start : start + piece], when)
            number_format, values = stored.dtype, stored.astype(np.float64)
            values = values.reshape(-1, values.shape[-1])  # (n, C)
            own = values.mean(axis=0)
            values -= own
            total = count + len(values)
            between = (own - mean) ** 2 * (count * len(values) / total)
            square = square + np.square(values, out=values).sum(axis=0) + between
            mean = mean + (own - mean) * (len(values) / total)
            count = total
    std = np.sqrt(square / count)
    if not np.isfinite(std).all():
        raise DataError(
            "the values of a field are too large for their variance to be measured in float64",
            "store it in a unit in which its values are below 1e150",
        )
    step = np.spacing(np.abs(mean).astype(number_format)).astype(np.float64)
    flat = std <= _ROUNDING_STEPS * step
    coarse = ~flat & (std <= _COARSE_STEPS * step)
    size = np.where(mean == 0, 1.0, np.abs(mean))
    return Fitted(
        Normalisation(np.asarray(mean, np.float64), np.where(flat, size, std)),
        tuple(np.flatnonzero(flat).tolist()),
        tuple(np.flatnonzero(coarse).tolist()),
    )


def evenly(n: int, most: int) -> Int64:
    """At most `most` of n numbers, evenly spaced from first to last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
