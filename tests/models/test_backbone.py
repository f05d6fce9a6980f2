"""The network over tokens: nothing at the start, relative on periodic axes, conditioned on what it is given."""

from itertools import pairwise

import pytest
import torch

from ups_engine.config.models import BackboneSettings
from ups_engine.models.backbone import Backbone, upgraded_backbone
from ups_engine.models.blocks import DepthwiseConv, RelativeAttention, TokenLinear
from ups_engine.models.operator import LatentOperator
from ups_engine.models.tokens import TokenGrid

SETTINGS = BackboneSettings(hidden=16, depth=2, heads=2, mlp_ratio=2)
GRIDS = {
    "1d": TokenGrid((48,), 6, (True,)),
    "2d": TokenGrid((16, 24), 4, (True, True)),
    "3d": TokenGrid((8, 8, 8), 2, (True, True, True)),
}


def operator(grid, parameters=2):
    torch.manual_seed(0)
    return LatentOperator(grid, 6, SETTINGS, parameters=parameters, reference_dt=0.05)


def scrambled(network):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network


def inputs(grid, dim=6, batch=3):
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(batch, grid.count, dim, generator=generator)
    return z, torch.randn(batch, 2, generator=generator), torch.full((batch,), 0.05)


def rolled(x, grid, steps):
    axes = tuple(range(1, grid.axes + 1))
    return x.unflatten(1, grid.cells).roll(steps, axes).flatten(1, grid.axes)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@torch.no_grad()
def test_the_operator_starts_as_the_identity(grid):
    z, cond, dt = inputs(grid)
    assert torch.equal(operator(grid)(z, cond, dt), z)


def test_one_step_of_training_moves_the_operator_and_makes_it_heed_its_conditions():
    network = operator(GRIDS["1d"])
    z, cond, dt = inputs(GRIDS["1d"])
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):  # the zero head learns first and lets the gradient through to the rest
        optimiser.zero_grad()
        (network(z, cond, dt) - z.roll(1, 1)).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        plain = network(z, cond, dt)
        size = (plain - z).abs().max()
        assert size > 1e-3
        assert (network(z, cond, 2 * dt) - plain).abs().max() > 1e-5 * size
        for parameter in range(2):
            other = cond.clone()
            other[:, parameter] += 1
            assert (network(z, other, dt) - plain).abs().max() > 1e-5 * size


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@torch.no_grad()
def test_on_periodic_axes_only_relative_positions_count(grid):
    z, cond, dt = inputs(grid)
    steps = tuple(range(1, grid.axes + 1))
    attention = scrambled(RelativeAttention(16, 2, grid))
    x = torch.randn(3, grid.count, 16)
    assert torch.allclose(attention(rolled(x, grid, steps)), rolled(attention(x), grid, steps), atol=1e-5)
    convolution = DepthwiseConv(16, grid, 5)
    assert torch.allclose(convolution(rolled(x, grid, steps)), rolled(convolution(x), grid, steps), atol=1e-5)
    network = scrambled(operator(grid))
    whole = network(rolled(z, grid, steps), cond, dt)
    assert torch.allclose(whole, rolled(network(z, cond, dt), grid, steps), rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_attention_does_see_positions():
    grid = GRIDS["1d"]
    attention, x = scrambled(RelativeAttention(16, 2, grid)), torch.randn(1, grid.count, 16)
    shuffled = torch.tensor([0, 2, 1, 3, 4, 5, 6, 7])
    assert (attention(x[:, shuffled]) - attention(x)[:, shuffled]).abs().max() > 1e-3


@torch.no_grad()
def test_weights_from_before_the_ends_had_maps_of_their_own_compute_the_same():
    grid = TokenGrid((16, 24), 4, (False, True))
    network = scrambled(operator(grid))
    before = {key: weight for key, weight in network.state_dict().items() if ".ends." not in key}
    network.load_state_dict(upgraded_backbone(before, grid))
    z = inputs(grid)[0]
    inside = torch.nn.functional.linear(z, before["backbone.lift.weight"], before["backbone.lift.bias"])
    assert torch.equal(network.backbone.lift(z), inside)
    around = TokenGrid((16, 24), 4, (True, True))
    assert upgraded_backbone(before, around) is before
    operator(around).load_state_dict({key: before[key] for key in operator(around).state_dict()})


@torch.no_grad()
def test_only_tokens_at_an_end_are_mapped_otherwise():
    grid = TokenGrid((16, 24), 4, (False, True))
    layer, x = scrambled(TokenLinear(grid, 6, 5)), inputs(grid)[0]
    added = (layer(x) - torch.nn.functional.linear(x, layer.weight, layer.bias)).abs().amax(-1).unflatten(1, grid.cells)
    assert (added[:, [0, -1]] > 0).all() and not added[:, 1:-1].any()


@torch.no_grad()
def test_an_axis_that_is_not_periodic_knows_its_ends():
    grid = TokenGrid((16, 24), 4, (False, True))
    z, cond, dt = inputs(grid)
    network = scrambled(operator(grid))
    along = network(rolled(z, grid, (0, 2)), cond, dt)
    assert torch.allclose(along, rolled(network(z, cond, dt), grid, (0, 2)), rtol=1e-5, atol=1e-4)
    across = network(rolled(z, grid, (1, 0)), cond, dt)
    assert (across - rolled(network(z, cond, dt), grid, (1, 0))).abs().max() > 1e-2


@torch.no_grad()
def test_a_network_with_a_noise_level_heeds_it():
    grid = GRIDS["1d"]
    torch.manual_seed(0)
    network = scrambled(Backbone(grid, 6, 6, SETTINGS, parameters=2, reference_dt=0.05, noise=True))
    z, cond, dt = inputs(grid)
    outputs = [network(z, cond, dt, torch.full((3,), level)) for level in (-4.0, -3.9, 0.0, 2.0)]
    for one, other in pairwise(outputs):
        assert (one - other).abs().max() > 1e-3


@torch.no_grad()
def test_half_precision_keeps_the_residual_stream_and_the_ends_in_fp32():
    grid = GRIDS["1d"]
    network = scrambled(operator(grid))
    z, cond, dt = inputs(grid)
    exact = network(z, cond, dt)
    network.backbone.half_precision = True
    streams = []
    for block in network.backbone.blocks:
        block.register_forward_hook(lambda module, args, output: streams.append(output.dtype))
    rounded = network(z, cond, dt)
    assert streams == [torch.float32] * 2
    assert rounded.dtype == torch.float32
    assert 0 < ((rounded - exact).norm() / (exact - z).norm()).item() < 0.05
