"""PDEBench's metrics (Takamoto et al. 2022), streamed over batches in float64.

Predictions and targets are (B, T, *space, C), in physical units, on any device. `MetricAccumulator` adds up what
belongs to each trajectory, frame and channel and takes the roots and means at the end, so that the result does not
depend on how the trajectories were batched. What depends on the kind of points, the discretisation knows.

Definitions, with e = prediction - target, n = number of grid points, <.> the mean over grid points:

- RMSE: sqrt(<e^2>) per trajectory, frame and channel, then their mean for each channel; "over std" it is divided by
  the channel's standard deviation over the training trajectories, which no offset flatters.
- nRMSE: sqrt(<e^2>) / sqrt(<target^2>) per trajectory, frame and channel, then their mean. Where a target is zero at
  every point the ratio does not exist; those entries are left out of the mean and counted in `Scores.zero_targets`.
- relative error: as nRMSE, but of the deviation from the channel's mean over the training trajectories, with a floor
  (see `losses.functions.relative_loss`): what training minimises and networks are selected by, in any unit.
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

from ups_engine.data.normalisation import Normalisation
from ups_engine.discretisation.base import Discretisation
from ups_engine.losses.functions import RELATIVE_FLOOR

LOW_BELOW, MID_BELOW = 4, 12


@dataclass(frozen=True)
class Bands:
    """A value per band of wave numbers: low 0-3, mid 4-11, high 12 and above; nan where the grid has no such waves."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class ChannelScores:
    """The metrics of one channel.

    Args:
        nrmse: without unit; nan where every target is zero.
        rmse: in the field's unit.
        rmse_over_std: without unit.
        crmse: in the field's unit.
        brmse: in the field's unit.
        frmse: in the field's unit.
        nrmse_by_frame: nRMSE of each frame; nan where every target of a frame is zero.
    """

    nrmse: float
    rmse: float
    rmse_over_std: float
    crmse: float
    brmse: float
    frmse: Bands
    nrmse_by_frame: tuple[float, ...]


@dataclass(frozen=True)
class Scores:
    """The metrics of a set of trajectories; over all channels only what has no unit.

    Args:
        channels: each by itself.
        nrmse: mean over trajectories, frames and channels.
        rmse_over_std: mean over channels.
        relative: the relative error, mean over trajectories, frames and channels.
        nrmse_by_frame: nRMSE of each frame, mean over channels.
        zero_targets: number of (trajectory, frame, channel) left out of nRMSE because their target is zero.
    """

    channels: tuple[ChannelScores, ...]
    nrmse: float
    rmse_over_std: float
    relative: float
    nrmse_by_frame: tuple[float, ...]
    zero_targets: int


class MetricAccumulator:
    """Adds batches up and gives their common scores; batches of any size give the same result.

    Args:
        discretisation: of the fields; it knows the points' shares of the domain, its edge and its spectrum.
        normalisation: of the fields.
    """

    def __init__(self, discretisation: Discretisation, normalisation: Normalisation) -> None:
        self._discretisation, self._normalisation = discretisation, normalisation
        self._trajectories = 0
        self._sums: dict[str, Tensor] = {}

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch, (B, T, *space, C) each; T, space and C are the same in every batch.

        Raises:
            ValueError: when the shapes differ from each other or from earlier batches.
        """
        error, on = _error(predicted, target), self._discretisation
        rms = on.mean(error.square()).sqrt()  # (B, T, C)
        size = on.mean(target.double().square()).sqrt()
        over_std = rms / self._normalisation.deviations(rms.device)
        deviation = on.mean(self._normalisation.scaled(target).square()).sqrt()
        defined = size > 0
        batch = {
            "ratio": torch.where(defined, rms / size, 0.0).sum(0),
            "defined": defined.sum(0),
            "rms": rms.sum(0),
            "over_std": over_std.sum(0),
            "relative": (over_std / deviation.clamp_min(RELATIVE_FLOOR)).sum(0),
            "conserved": on.mean(error).square().sum(0),
            "boundary": on.edge_rms(error).sum(0),
            "spectrum": on.shell_powers(error).sum(0),
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
        conserved, boundary = (sums["conserved"] / n).sqrt(), sums["boundary"] / n
        spectrum = (sums["spectrum"] / n).sqrt()
        channels = tuple(
            ChannelScores(
                nrmse=float(ratio[:, channel].sum() / defined[:, channel].sum()),
                rmse=float(sums["rms"][:, channel].mean() / n),
                rmse_over_std=float(sums["over_std"][:, channel].mean() / n),
                crmse=float(conserved[:, channel].mean()),
                brmse=float(boundary[:, channel].mean()),
                frmse=_bands(spectrum[..., channel]),
                nrmse_by_frame=tuple((ratio[:, channel] / defined[:, channel]).tolist()),
            )
            for channel in range(ratio.shape[-1])
        )
        return Scores(
            channels=channels,
            nrmse=float(ratio.sum() / defined.sum()),
            rmse_over_std=float(sums["over_std"].mean() / n),
            relative=float(sums["relative"].mean() / n),
            nrmse_by_frame=tuple((ratio.sum(-1) / defined.sum(-1)).tolist()),
            zero_targets=int(n * defined.numel() - defined.sum()),
        )


def score(predicted: Tensor, target: Tensor, discretisation: Discretisation, normalisation: Normalisation) -> Scores:
    """All metrics of one batch, (B, T, *space, C) each."""
    accumulator = MetricAccumulator(discretisation, normalisation)
    accumulator.update(predicted, target)
    return accumulator.scores()


def _bands(errors: Tensor) -> Bands:
    """Means over the shells of each band of (T, shells)."""
    low, mid, high = errors[:, :LOW_BELOW], errors[:, LOW_BELOW:MID_BELOW], errors[:, MID_BELOW:]
    return Bands(float(low.mean()), float(mid.mean()), float(high.mean()))


def _error(predicted: Tensor, target: Tensor) -> Tensor:
    if predicted.shape != target.shape or predicted.ndim < 4:
        raise ValueError(
            f"prediction {tuple(predicted.shape)} and target {tuple(target.shape)} must both be (B, T, *space, C)"
        )
    return predicted.double() - target.double()
