"""PDEBench's metrics (Takamoto et al. 2022), streamed over batches in float64.

All functions take a prediction and its target, (B, T, *space, C), in physical units, on any device, and return what
belongs to each trajectory, frame and channel. `MetricAccumulator` adds these up and takes the roots and means at the
end, so that the result does not depend on how the trajectories were batched.

Definitions, with e = prediction - target, n = number of grid points, <.> the mean over grid points:

- nRMSE: sqrt(<e^2>) / sqrt(<target^2>) per trajectory, frame and channel, then their mean. Where a target is zero at
  every point the ratio does not exist; those entries are left out of the mean and counted in `Scores.zero_targets`.
- cRMSE: sqrt(mean over trajectories of (sum of e)^2) / n per frame and channel, then their mean.
- bRMSE: sqrt(mean of e^2 over the edge cells) per trajectory, frame and channel, then their mean. The edge cells are
  the first and the last of each axis; with several axes a corner counts once for each, as in PDEBench.
- fRMSE: E_b = sqrt(mean over trajectories of sum of |FFT(e)|^2 over the modes with b <= |k| < b + 1) / n per frame
  and channel; then the mean of E_b over the shells b of a band: low 0-3, mid 4-11, high 12 and above. k counts waves
  per domain and a conjugate pair of modes counts once, which in one dimension is the real FFT, as in PDEBench.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LOW_BELOW, MID_BELOW = 4, 12


@dataclass(frozen=True)
class Bands:
    """A value per band of wave numbers: low 0-3, mid 4-11, high 12 and above; nan where the grid has no such waves."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class Scores:
    """The metrics of a set of trajectories.

    Args:
        nrmse: without unit.
        crmse: in the field's unit.
        brmse: in the field's unit.
        frmse: in the field's unit.
        nrmse_by_frame: nRMSE of each frame; nan where every target of a frame is zero.
        zero_targets: number of (trajectory, frame, channel) left out of nRMSE because their target is zero.
    """

    nrmse: float
    crmse: float
    brmse: float
    frmse: Bands
    nrmse_by_frame: tuple[float, ...]
    zero_targets: int


class MetricAccumulator:
    """Adds batches up and gives their common scores; batches of any size give the same result."""

    def __init__(self) -> None:
        self._trajectories = 0
        self._sums: dict[str, Tensor] = {}

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch, (B, T, *space, C) each; T, space and C are the same in every batch.

        Raises:
            ValueError: when the shapes differ from each other or from earlier batches.
        """
        errors = relative_errors(predicted, target)
        defined = _sizes(target) > 0
        batch = {
            "ratio": torch.where(defined, errors, 0.0).sum(0),
            "defined": defined.sum(0),
            "conserved": conservation_errors(predicted, target).square().sum(0),
            "boundary": boundary_errors(predicted, target).sum(0),
            "spectrum": spectral_powers(predicted, target).sum(0),
        }
        known = self._sums.get("spectrum", batch["spectrum"])
        if known.shape != batch["spectrum"].shape:
            raise ValueError(f"a batch of {tuple(predicted.shape)} does not go with earlier ones of another grid")
        self._sums = {name: self._sums[name] + value if self._sums else value for name, value in batch.items()}
        self._trajectories += predicted.shape[0]

    def scores(self) -> Scores:
        """Take roots and means.

        Raises:
            ValueError: when nothing was added.
        """
        if not self._trajectories:
            raise ValueError("no trajectory was added")
        n, sums = self._trajectories, self._sums
        ratio, defined = sums["ratio"], sums["defined"]
        return Scores(
            nrmse=float(ratio.sum() / defined.sum()),
            crmse=float((sums["conserved"] / n).sqrt().mean()),
            brmse=float((sums["boundary"] / n).mean()),
            frmse=_bands((sums["spectrum"] / n).sqrt()),
            nrmse_by_frame=tuple((ratio.sum(-1) / defined.sum(-1)).tolist()),
            zero_targets=int(n * defined.numel() - defined.sum()),
        )


def score(predicted: Tensor, target: Tensor) -> Scores:
    """All metrics of one batch, (B, T, *space, C) each."""
    accumulator = MetricAccumulator()
    accumulator.update(predicted, target)
    return accumulator.scores()


def nrmse_by_frame(predicted: Tensor, target: Tensor) -> Tensor:
    """nRMSE of each frame, (T,) float64, means over trajectories and channels; nan where all targets are zero."""
    errors = relative_errors(predicted, target)
    defined = _sizes(target) > 0
    return torch.where(defined, errors, 0.0).sum((0, 2)) / defined.sum((0, 2))


def relative_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """RMSE over space divided by the target's RMS, (B, T, C) float64; nan where the target is zero everywhere."""
    error = _error(predicted, target).flatten(2, -2)
    size = _sizes(target)
    return torch.where(size > 0, error.square().mean(2).sqrt() / size, torch.nan)


def conservation_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Error of the sum over space divided by the number of points, (B, T, C) float64, signed."""
    return _error(predicted, target).flatten(2, -2).mean(2)


def boundary_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """RMSE over the edge cells, (B, T, C) float64."""
    error = _error(predicted, target).square()
    edges = [
        error.select(axis, end).flatten(2, -2) if error.ndim > 4 else error.select(axis, end).unsqueeze(2)
        for axis in range(2, error.ndim - 1)
        for end in (0, -1)
    ]
    return torch.cat(edges, dim=2).mean(2).sqrt()


def spectral_powers(predicted: Tensor, target: Tensor) -> Tensor:
    """Sum of |FFT(error) / n|^2 over each shell b <= |k| < b + 1, (B, T, shells, C) float64."""
    error = _error(predicted, target)
    space = error.shape[2:-1]
    spectrum: Tensor = torch.fft.rfftn(error, dim=tuple(range(2, error.ndim - 1)), norm="forward")
    shell, weight = _shells(tuple(space), error.device)
    power = spectrum.abs().square().flatten(2, -2) * weight[:, None]
    sums = power.new_zeros(*power.shape[:2], int(shell.max()) + 1, power.shape[-1])
    return sums.index_add(2, shell, power)


def _shells(space: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Shell number and weight of each mode of a real FFT, flattened; weights make a conjugate pair count once."""
    waves = [torch.fft.fftfreq(n, 1 / n, device=device, dtype=torch.float64).round() for n in space[:-1]]
    last = torch.arange(space[-1] // 2 + 1, device=device, dtype=torch.float64)
    grids = torch.meshgrid(*waves, last, indexing="ij")
    radius = torch.stack(grids).square().sum(0).sqrt()
    # A mode k is its own partner where -k = k on the grid; in the columns 0 and n/2 of the last axis both partners
    # of a pair are present, elsewhere only one.
    alone = torch.stack([(2 * k) % n == 0 for k, n in zip(grids, space, strict=True)]).all(0)
    both_present = (2 * grids[-1]) % space[-1] == 0
    weight = torch.where(both_present & ~alone, 0.5, 1.0).double()
    return (radius + 1e-9).floor().long().flatten(), weight.flatten()


def _bands(errors: Tensor) -> Bands:
    """Means over the shells of each band of (T, shells, C)."""
    low, mid, high = errors[:, :LOW_BELOW], errors[:, LOW_BELOW:MID_BELOW], errors[:, MID_BELOW:]
    return Bands(float(low.mean()), float(mid.mean()), float(high.mean()))


def _sizes(target: Tensor) -> Tensor:
    """RMS over space, (B, T, C) float64."""
    return target.double().flatten(2, -2).square().mean(2).sqrt()


def _error(predicted: Tensor, target: Tensor) -> Tensor:
    if predicted.shape != target.shape or predicted.ndim < 4:
        raise ValueError(
            f"prediction {tuple(predicted.shape)} and target {tuple(target.shape)} must both be (B, T, *space, C)"
        )
    return predicted.double() - target.double()
