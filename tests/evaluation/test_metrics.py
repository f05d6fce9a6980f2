"""PDEBench's metrics against plain numpy, cases worked by hand, and batches of any size."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ups_engine.data.normalisation import Normalisation
from ups_engine.discretisation.grid import RegularGrid
from ups_engine.evaluation import metrics
from ups_engine.evaluation.metrics import MetricAccumulator


def grid(*points):
    coordinates = tuple((np.arange(n) + 0.5) / n for n in points)
    return RegularGrid(coordinates, (1.0,) * len(points), (True,) * len(points))


def scale(channels):
    """Some mean and deviation of each channel."""
    numbers = np.arange(channels, dtype=np.float64)
    return Normalisation(mean=0.25 - numbers, std=0.5 + 3 * numbers)


def score(predicted, target):
    return metrics.score(predicted, target, grid(*target.shape[2:-1]), scale(target.shape[-1]))


def only(scores):
    """The scores of the only channel."""
    [channel] = scores.channels
    return channel


def fields(*shape, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=shape).astype(np.float32) + 0.5
    return target + 0.1 * rng.normal(size=shape).astype(np.float32), target


def numpy_scores(predicted, target):
    """The same metrics written down once more, with loops and without torch."""
    predicted, target = predicted.astype(np.float64), target.astype(np.float64)
    space = predicted.shape[2:-1]
    points, axes = math.prod(space), tuple(range(2, predicted.ndim - 1))
    error = predicted - target
    rms, known = np.sqrt((error**2).mean(axes)), scale(target.shape[-1])
    ratio = rms / np.sqrt((target**2).mean(axes))
    deviation = np.sqrt((((target - known.mean) / known.std) ** 2).mean(axes))
    conserved = np.sqrt((error.sum(axes) ** 2).mean(0)) / points
    flat = (*predicted.shape[:2], -1, predicted.shape[-1])
    edge_cells = [np.take(error, end, axis).reshape(flat) for axis in axes for end in (0, -1)]
    boundary = np.sqrt((np.concatenate(edge_cells, 2) ** 2).mean(2))
    power = np.abs(np.fft.fftn(error, axes=axes)) ** 2
    shells = {}
    for mode in np.ndindex(*space):
        partner = tuple(-k % n for k, n in zip(mode, space, strict=True))
        if partner < mode:
            continue  # a conjugate pair counts once
        wave = [min(k, n - k) for k, n in zip(mode, space, strict=True)]
        shell = math.floor(math.sqrt(sum(k * k for k in wave)) + 1e-9)
        shells[shell] = shells.get(shell, 0) + power[(slice(None), slice(None), *mode)]
    amplitude = np.stack([np.sqrt(shells[b].mean(0)) / points for b in sorted(shells)])
    return {
        "nrmse": ratio.mean((0, 1)),
        "by_frame": ratio.mean(0),
        "rmse": rms.mean((0, 1)),
        "rmse_over_std": rms.mean((0, 1)) / known.std,
        "relative": (rms / known.std / np.maximum(deviation, 1e-3)).mean(),
        "crmse": conserved.mean(0),
        "brmse": boundary.mean((0, 1)),
        "low": amplitude[:4].mean((0, 1)),
        "mid": amplitude[4:12].mean((0, 1)),
        "high": amplitude[12:].mean((0, 1)),
    }


@pytest.mark.parametrize(
    "shape", [(5, 3, 32, 1), (4, 2, 33, 2), (3, 2, 32, 26, 2), (2, 2, 25, 27, 1), (1, 2, 8, 24, 26, 1)]
)
def test_every_metric_equals_its_recomputation_in_numpy(shape):
    predicted, target = fields(*shape)
    ours, expected = score(torch.from_numpy(predicted), torch.from_numpy(target)), numpy_scores(predicted, target)
    for number, channel in enumerate(ours.channels):
        for name in ("nrmse", "rmse", "rmse_over_std", "crmse", "brmse"):
            assert getattr(channel, name) == pytest.approx(expected[name][number], rel=1e-10)
        for band in ("low", "mid", "high"):
            assert getattr(channel.frmse, band) == pytest.approx(expected[band][number], rel=1e-10)
        assert channel.nrmse_by_frame == pytest.approx(expected["by_frame"][:, number], rel=1e-10)
    assert len(ours.channels) == shape[-1]
    for name in ("nrmse", "rmse_over_std", "relative"):
        assert getattr(ours, name) == pytest.approx(expected[name].mean(), rel=1e-10)
    assert ours.nrmse_by_frame == pytest.approx(expected["by_frame"].mean(1), rel=1e-10)


def test_permuting_channels_permutes_the_scores():
    predicted, target = (torch.from_numpy(x) for x in fields(4, 3, 32, 3))
    order, known = [2, 0, 1], scale(3)
    permuted = Normalisation(known.mean[order], known.std[order])
    ours = metrics.score(predicted, target, grid(32), known)
    theirs = metrics.score(predicted[..., order], target[..., order], grid(32), permuted)
    for place, channel in enumerate(order):
        assert vars(theirs.channels[place]) == pytest.approx(vars(ours.channels[channel]), rel=1e-12)
    assert theirs.relative == pytest.approx(ours.relative, rel=1e-12)


@given(st.integers(-98, 98), st.integers(0, 99))
def test_a_power_of_two_as_unit_leaves_every_figure_without_unit_as_it_was_to_the_bit(exponent, seed):
    predicted, target = (torch.from_numpy(x).double() for x in fields(2, 3, 32, 2, seed=seed))
    unit, known = 2.0**exponent, scale(2)
    ours = metrics.score(predicted, target, grid(32), known)
    scaled = Normalisation(known.mean * unit, known.std * unit)
    theirs = metrics.score(predicted * unit, target * unit, grid(32), scaled)
    for name in ("nrmse", "rmse_over_std", "relative", "nrmse_by_frame"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert [channel.rmse * unit for channel in ours.channels] == [channel.rmse for channel in theirs.channels]


def test_one_dimension_agrees_with_pdebenchs_own_formulas():
    """As in PDEBench's metric_func for (B, X, T, C), with Lx = 1."""
    predicted, target = (torch.from_numpy(x).double() for x in fields(6, 4, 64, 2))
    p, t = (x.permute(0, 3, 2, 1) for x in (predicted, target))  # (B, C, X, T)
    error = ((p - t) ** 2).mean(2).sqrt()
    nrmse = (error / (t**2).mean(2).sqrt()).mean(0).mean()
    crmse = (((p.sum(2) - t.sum(2)) ** 2).mean(0).sqrt() / 64).mean()
    edge = ((p[:, :, 0] - t[:, :, 0]) ** 2 + (p[:, :, -1] - t[:, :, -1]) ** 2) / 2
    spectrum = ((torch.fft.rfft(p, dim=2) - torch.fft.rfft(t, dim=2)).abs() ** 2).mean(0).sqrt() / 64
    ours = score(predicted, target)
    means = {name: np.mean([getattr(one, name) for one in ours.channels]) for name in ("crmse", "brmse", "rmse")}
    bands = [np.mean([getattr(one.frmse, band) for one in ours.channels]) for band in ("low", "mid", "high")]
    assert ours.nrmse == pytest.approx(nrmse.item())
    assert means["rmse"] == pytest.approx(error.mean().item())
    assert means["crmse"] == pytest.approx(crmse.item())
    assert means["brmse"] == pytest.approx(edge.sqrt().mean().item())
    spectra = (spectrum[:, :4], spectrum[:, 4:12], spectrum[:, 12:])
    assert bands == pytest.approx([part.mean().item() for part in spectra])


def test_a_uniform_offset_by_hand():
    target = torch.full((2, 3, 32, 1), 4.0)
    ours = only(score(target + 1, target))
    assert (ours.nrmse, ours.rmse, ours.rmse_over_std) == pytest.approx((0.25, 1.0, 2.0))
    assert (ours.crmse, ours.brmse) == pytest.approx((1.0, 1.0))
    # All of the error is in wave number 0, with amplitude 1: a mean over the four wave numbers of the band.
    assert (ours.frmse.low, ours.frmse.mid, ours.frmse.high) == pytest.approx((0.25, 0.0, 0.0))
    assert ours.nrmse_by_frame == pytest.approx((0.25, 0.25, 0.25))


@pytest.mark.parametrize(("wave", "band", "shells"), [(3, "low", 4), (4, "mid", 8), (11, "mid", 8), (12, "high", 21)])
def test_a_wave_lands_in_its_band_along_either_axis(wave, band, shells):
    x = torch.arange(64) / 64
    line = (2 * torch.pi * wave * x).cos()
    ours = only(score(line.view(1, 1, 64, 1), torch.ones(1, 1, 64, 1) * 0))
    assert getattr(ours.frmse, band) == pytest.approx(0.5 / shells, rel=1e-5)
    assert ours.crmse == pytest.approx(0.0, abs=1e-6)
    plane = line.view(1, 1, 64, 1, 1).expand(1, 1, 64, 64, 1)
    first, second = (only(score(p, torch.zeros_like(p))) for p in (plane, plane.transpose(2, 3)))
    assert getattr(first.frmse, band) == pytest.approx(getattr(second.frmse, band), rel=1e-6)
    assert getattr(first.frmse, band) > 100 * max(
        getattr(first.frmse, other) for other in ("low", "mid", "high") if other != band
    )


@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 1, 5), (1,) * 7])
def test_batches_of_any_size_give_the_same_scores(sizes):
    predicted, target = (torch.from_numpy(x) for x in fields(7, 3, 32, 2))
    accumulator, start = MetricAccumulator(grid(32), scale(2)), 0
    for size in sizes:
        accumulator.update(predicted[start : start + size], target[start : start + size])
        start += size
    streamed, whole = accumulator.scores(), score(predicted, target)
    for name in ("nrmse", "rmse_over_std", "relative", "nrmse_by_frame"):
        assert getattr(streamed, name) == pytest.approx(getattr(whole, name), rel=1e-12)
    for one, other in zip(streamed.channels, whole.channels, strict=True):
        for name in ("nrmse", "rmse", "rmse_over_std", "crmse", "brmse", "nrmse_by_frame"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12)
        assert one.frmse.high == pytest.approx(other.frmse.high, rel=1e-12)


def test_float64_accumulation_keeps_an_error_that_float32_would_lose():
    target = torch.full((1, 1, 4096, 1), 1000.0, dtype=torch.float64)
    ours = only(score(target + 1e-7, target))
    assert ours.nrmse == pytest.approx(1e-10, rel=1e-4)
    assert ours.crmse == pytest.approx(1e-7, rel=1e-4)


def test_zero_targets_are_left_out_of_the_ratio_and_counted():
    target = torch.ones(2, 3, 16, 1)
    target[0, 1] = 0.0  # one trajectory's frame
    target[:, 2] = 0.0  # a whole frame
    predicted = target + 0.5
    ours = score(predicted, target)
    assert ours.nrmse == pytest.approx(0.5)
    assert ours.zero_targets == 3
    assert ours.nrmse_by_frame[:2] == pytest.approx((0.5, 0.5))
    assert math.isnan(ours.nrmse_by_frame[2])
    assert only(ours).crmse == pytest.approx(0.5)


def test_a_diverged_prediction_is_never_left_out():
    target = torch.ones(2, 2, 16, 1)
    predicted = target.clone()
    predicted[1, 1, 3] = torch.nan
    ours = score(predicted, target)
    assert math.isnan(ours.nrmse)
    assert ours.nrmse_by_frame[0] == 0.0
    assert math.isnan(ours.nrmse_by_frame[1])
    assert ours.zero_targets == 0


def test_a_band_the_grid_cannot_hold_is_nan():
    ours = only(score(torch.ones(1, 1, 16, 1), torch.ones(1, 1, 16, 1)))
    assert ours.frmse.mid == 0.0
    assert math.isnan(ours.frmse.high)


def test_wrong_shapes_and_empty_sets_are_refused():
    with pytest.raises(ValueError, match="must both be"):
        score(torch.ones(1, 1, 16, 1), torch.ones(1, 1, 8, 1))
    with pytest.raises(ValueError, match="must both be"):
        score(torch.ones(1, 16, 1), torch.ones(1, 16, 1))
    with pytest.raises(ValueError, match="no trajectory"):
        MetricAccumulator(grid(16), scale(1)).scores()
    accumulator = MetricAccumulator(grid(16), scale(1))
    accumulator.update(torch.ones(1, 1, 16, 1), torch.ones(1, 1, 16, 1))
    with pytest.raises(ValueError, match="another grid"):
        accumulator.update(torch.ones(1, 1, 32, 1), torch.ones(1, 1, 32, 1))
