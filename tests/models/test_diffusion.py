"""Preconditioning, sampling and the consistency function, against what is known in closed form."""

from itertools import pairwise

import pytest
import torch

from ups_engine.config.models import BackboneSettings
from ups_engine.config.stages import NoiseSettings
from ups_engine.models.diffusion import ConsistencyResidual, Context, DiffusionResidual, per_sample
from ups_engine.models.tokens import TokenGrid

GRID = TokenGrid((32,), 4, (True,))
DIM = 3
BACKBONE = BackboneSettings(hidden=8, depth=1, heads=1, mlp_ratio=1)
NOISE = NoiseSettings(sigma_min=0.01, sigma_max=10.0, rho=7.0)


class GaussianDiffusion(DiffusionResidual):
    """The exact denoiser of residuals that are normal with mean 2 and standard deviation 1/2."""

    mean_of_y, std_of_y = 2.0, 0.5

    def raw(self, x, sigma, context):
        s = per_sample(sigma)
        exact = (self.std_of_y**2 * x + s**2 * self.mean_of_y) / (self.std_of_y**2 + s**2)
        return (exact - x / (s**2 + 1)) * (s**2 + 1).sqrt() / s


class UnitConsistency(ConsistencyResidual):
    """The exact consistency function of standard normal residuals: x sqrt((1 + sigma_min^2) / (1 + sigma^2))."""

    def raw(self, x, sigma, context):
        s = per_sample(sigma)
        above = s - self.noise.sigma_min
        exact = x * ((1 + self.noise.sigma_min**2) / (1 + s**2)).sqrt()
        return (exact - x / (above**2 + 1)) * (s**2 + 1).sqrt() / above.clamp_min(1e-12)


def model(kind, scrambled=False, dtype=torch.float32):
    torch.manual_seed(0)
    network = kind(GRID, DIM, BACKBONE, NOISE, parameters=1, reference_dt=0.1)
    if scrambled:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network.to(dtype)


def context(batch=4, dtype=torch.float32):
    z0, prediction = torch.randn(2, batch, GRID.count, DIM, generator=torch.Generator().manual_seed(1)).to(dtype)
    return Context(z0, prediction, torch.ones(batch, 1, dtype=dtype), torch.full((batch,), 0.1, dtype=dtype))


def noise(n=1, batch=4, dtype=torch.float32):
    return torch.randn(n, batch, GRID.count, DIM, generator=torch.Generator().manual_seed(2)).to(dtype)


def evaluations(network):
    calls = []
    network.backbone.register_forward_hook(lambda module, args, output: calls.append(len(output)))
    return calls


@torch.no_grad()
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 10.0])
def test_preconditioning_is_that_of_karras(sigma):
    """Table 1 with sigma_data = 1: the network sees unit variance and is asked for unit variance."""
    network, given = model(DiffusionResidual, scrambled=True), context()
    seen = []
    network.backbone.lift.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    level = torch.full((4,), sigma)
    y, n = noise(2)
    x = y + sigma * n
    c_skip, c_out, c_in = 1 / (sigma**2 + 1), sigma / (sigma**2 + 1) ** 0.5, 1 / (sigma**2 + 1) ** 0.5
    denoised = network(x, level, given)
    assert torch.allclose(seen[0][..., :DIM], c_in * x, rtol=1e-5)
    assert torch.equal(seen[0][..., DIM:], torch.cat([given.prediction, given.z0], dim=-1))
    assert torch.allclose(denoised, c_skip * x + c_out * network.raw(x, level, given), rtol=1e-5, atol=1e-6)
    assert c_in**2 * (1 + sigma**2) == pytest.approx(1)
    target_variance = ((1 - c_skip) ** 2 + (c_skip * sigma) ** 2) / c_out**2  # of (y - c_skip x) / c_out
    assert target_variance == pytest.approx(1)


@torch.no_grad()
@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_an_untrained_denoiser_is_the_best_one_of_standard_normal_residuals(sigma):
    network, batch = model(DiffusionResidual), 4000
    y, n = torch.randn(2, batch, GRID.count, DIM, generator=torch.Generator().manual_seed(3))
    x, level = y + sigma * n, torch.full((batch,), sigma)
    error = (network(x, level, context(batch)) - y).square().mean().item()
    assert torch.allclose(network(x, level, context(batch)), x / (sigma**2 + 1), rtol=1e-5)
    assert error == pytest.approx(sigma**2 / (1 + sigma**2), rel=0.02)  # the posterior's variance


@torch.no_grad()
def test_noise_levels_follow_karras_schedule_from_most_to_least():
    network = model(DiffusionResidual)
    levels = network.levels(18, torch.device("cpu"))
    i = torch.arange(18, dtype=torch.float64)
    expected = (10.0 ** (1 / 7) + i / 17 * (0.01 ** (1 / 7) - 10.0 ** (1 / 7))) ** 7
    assert torch.allclose(levels.double(), expected, rtol=1e-5)
    assert network.levels(1, torch.device("cpu")).tolist() == pytest.approx([10.0], rel=1e-5)


@torch.no_grad()
def test_sampling_an_exact_denoiser_converges_to_the_known_end_of_the_trajectory():
    """dx/dsigma = (x - m) sigma / (s^2 + sigma^2) ends at m + (x - m) s / sqrt(s^2 + sigma_max^2)."""
    network, given, start = (
        model(GaussianDiffusion, dtype=torch.float64),
        *(make(dtype=torch.float64) for make in (context, noise)),
    )
    x = NOISE.sigma_max * start[0]
    end = 2 + (x - 2) * 0.5 / (0.5**2 + NOISE.sigma_max**2) ** 0.5
    errors = []
    for steps in (8, 16, 32, 64, 128):
        found = network.sample(given, start, steps, 1.0) / network.unit(given.prediction)
        errors.append((found - end).abs().max().item())
    assert all(later < 0.65 * earlier for earlier, later in pairwise(errors))  # first order
    assert errors[-1] < 0.02


@torch.no_grad()
def test_without_noise_the_sample_of_an_exact_denoiser_is_its_mean_up_to_the_start_of_the_trajectory():
    network, given = model(GaussianDiffusion), context()
    found = network.sample(given, noise(), 16, 0.0) / network.unit(given.prediction)
    assert (found - 2 * (1 - 0.5 / (0.5**2 + NOISE.sigma_max**2) ** 0.5)).abs().max() < 0.02


@torch.no_grad()
@pytest.mark.parametrize("kind", [DiffusionResidual, ConsistencyResidual])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_sample_takes_the_evaluations_it_was_given(kind, steps):
    network = model(kind, scrambled=True)
    calls = evaluations(network)
    assert network.sample(context(), noise(steps), steps, 1.0).shape == (4, GRID.count, DIM)
    assert calls == [4] * steps


@torch.no_grad()
@pytest.mark.parametrize("kind", [DiffusionResidual, ConsistencyResidual])
def test_temperature_scales_the_noise_of_a_sample(kind):
    network, given, untrained = model(kind, scrambled=True), context(), model(kind)
    one, other = noise(3), noise(3).flip(0)
    assert torch.equal(network.sample(given, one, 3, 0.0), network.sample(given, other, 3, 0.0))
    assert not torch.equal(network.sample(given, one, 3, 0.5), network.sample(given, other, 3, 0.5))
    full, half = (untrained.sample(given, one, 3, temperature) for temperature in (1.0, 0.5))
    assert full.abs().max() > 1e-3
    assert torch.allclose(half, full / 2, rtol=1e-5, atol=1e-7)  # linear, while the network gives nothing


@torch.no_grad()
def test_the_consistency_function_is_the_identity_at_the_least_noise():
    network, x = model(ConsistencyResidual, scrambled=True), noise()[0]
    assert torch.equal(network(x, torch.full((4,), NOISE.sigma_min), context()), x)
    last = network.levels(18, x.device)[-1:].expand(4)
    assert torch.allclose(network(x, last, context()), x, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(network(x, 2 * last, context()), x, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 4])
def test_an_exact_consistency_function_gives_residuals_of_the_right_size(steps):
    network, batch = model(UnitConsistency), 2000
    given = context(batch)
    drawn = torch.randn(steps, batch, GRID.count, DIM, generator=torch.Generator().manual_seed(4))
    found = network.sample(given, drawn, steps, 1.0) / network.unit(given.prediction)
    assert found.mean().item() == pytest.approx(0, abs=0.02)
    assert found.std().item() == pytest.approx(1, abs=0.02)


@torch.no_grad()
def test_a_residual_is_measured_by_its_share_of_the_encoding_and_the_size_of_the_state():
    network = model(DiffusionResidual)
    network.scale.fill_(0.1)
    network.mean.copy_(torch.tensor([1.0, 0.0, 0.0]))
    network.std.copy_(torch.tensor([1.0, 2.0, 4.0]))
    unit = network.unit(torch.zeros(1, GRID.count, DIM))
    assert unit[0, 0].tolist() == pytest.approx([0.1 * (1 / 3) ** 0.5 / std for std in (1, 2, 4)])
    network.mean.zero_()
    z = context().prediction
    assert torch.allclose(network.unit(3 * z), 3 * network.unit(z))
    assert network.unit(torch.zeros_like(z)).min() > 0
