"""The diffusion stage: the distribution of tau, the residual's unit, the verdict."""

import pytest
import torch
from lab import inputs, noise
from scipy import stats

from ups_engine.config.training import TauSettings
from ups_engine.models.diffusion import per_sample
from ups_engine.stages.diff_residual import draw_tau, no_help, tau_quantiles
from ups_engine.training.randomness import keys, uniform


@pytest.mark.parametrize(
    ("kind", "alpha", "beta"), [("uniform", 1, 1), ("beta", 1.2, 1.2), ("beta", 0.5, 2.0), ("beta", 5.0, 1.0)]
)
def test_tau_follows_its_distribution(kind, alpha, beta):
    quantiles = tau_quantiles(TauSettings(type=kind, alpha=alpha, beta=beta))
    tau = draw_tau(quantiles, uniform(keys(0, "stage", 0, range(1), "tau")[0], (100_000,))).double()
    known = stats.uniform() if kind == "uniform" else stats.beta(alpha, beta)
    assert tau.mean().item() == pytest.approx(known.mean(), abs=3e-3)
    assert tau.var().item() == pytest.approx(known.var(), rel=0.02)
    assert stats.kstest(tau.numpy(), known.cdf).pvalue > 0.01
    assert tau.min() >= 0 and tau.max() <= 1


def test_the_ends_of_the_uniform_draw_stay_in_bounds():
    quantiles = tau_quantiles(TauSettings(type="beta", alpha=2, beta=3))
    assert draw_tau(quantiles, torch.tensor([0.0, 1.0])).tolist() == [0.0, 1.0]


def noise_levels(task, numbers):
    """Noise levels that a step of the task calls its network with."""
    seen = []
    task.network.register_forward_hook(lambda module, given, output: seen.append(given[1]))
    task.loss(inputs(task, numbers))
    return seen[0]


def test_the_stages_own_distribution_counts(lab):
    low = lab.task("diff_residual", "stages.diff_residual.tau_distribution={type='beta', alpha=1.0, beta=50.0}")
    shared = lab.task("diff_residual", "training.tau_distribution={type='beta', alpha=50.0, beta=1.0}")
    tau = torch.tensor([0.02, 0.98])
    assert noise_levels(low, torch.arange(48)).median() < low.network.level(tau)[0]
    assert noise_levels(shared, torch.arange(48)).median() > shared.network.level(tau)[1]


def residual_of(task, numbers):
    given = inputs(task, numbers)
    return task.residual(given["z0"], given["z1"], given["cond"], given["dt"])


def test_the_residual_is_measured_in_a_unit_that_makes_its_mean_square_one(lab):
    task = lab.task("diff_residual")
    residual, context = residual_of(task, torch.arange(task.samples[0]))
    scaled = residual / task.network.unit(context.prediction)
    assert scaled.square().mean().item() == pytest.approx(1, rel=1e-3)
    assert residual.shape == (task.samples[0], 8, 8)


def test_the_loss_is_that_of_karras_with_unit_weight_on_the_networks_output(lab):
    """Untrained, F = 0: the loss is mean((y sigma^2 - sigma n)^2 / (sigma^2 (sigma^2 + 1))), 1 on average."""
    task, numbers = lab.task("diff_residual"), torch.arange(48)
    found = torch.stack([task.loss(inputs(task, numbers, step=step)).total.detach() for step in range(20)])
    assert found.mean().item() == pytest.approx(1, rel=0.15)
    residual, context = residual_of(task, numbers)
    y = residual / task.network.unit(context.prediction)
    sigma = per_sample(noise_levels(task, numbers))
    n = noise(task, 48).normal("noise", tuple(y.shape))
    assert found[0].item() == pytest.approx(((y * sigma - n) ** 2 / (sigma**2 + 1)).mean().item(), rel=1e-4)


def test_an_untrained_corrector_changes_nothing_and_is_told_to_be_no_help(lab):
    task = lab.task("diff_residual")
    metrics = task.validate(task.network)
    assert metrics["score"] == pytest.approx(metrics["operator_error"], rel=0.02)
    assert no_help("diffusion residual", {"score": 0.2, "operator_error": 0.2}) == (
        "the diffusion residual does not help: single-step validation nRMSE 0.2 against 0.2 of the operator alone"
    )
    assert no_help("diffusion residual", {"score": 0.1, "operator_error": 0.2}) is None
