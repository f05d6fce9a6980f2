"""Encoder and decoder: inverse at the start, exact under shifts by a patch, and decodable between grid points."""

import pytest
import torch

from ups_engine.config.models import ConvSettings
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.tokens import TokenGrid

TAU = 2 * torch.pi


def networks(shape, patch, channels, dim, periodic=True, depth=1, dtype=torch.float32):
    grid = TokenGrid.fit(shape, patch, (periodic,) * len(shape))
    settings = ConvSettings(hidden=8, depth=depth)
    return GridEncoder(grid, channels, dim, settings).to(dtype), GridDecoder(grid, channels, dim, settings).to(dtype)


def field(shape, channels, batch=2):
    return torch.randn(batch, *shape, channels, generator=torch.Generator().manual_seed(0))


def centres(*shape, dtype=torch.float32):
    axes = [(torch.arange(n, dtype=dtype) + 0.5) / n for n in shape]
    return torch.cartesian_prod(*axes).reshape(-1, len(shape))


def relative(result, target):
    return ((result - target).norm() / target.norm()).item()


def scrambled(*parts):
    """Networks as training might leave them: no weight is zero, and the latent is standardised."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in parts:
            for parameter in part.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
            part.mean.fill_(0.3)
            part.std.fill_(2.0)
    return parts


GRIDS = [((64,), 8, 1), ((64,), 8, 3), ((63,), 7, 2), ((20,), 5, 1), ((16,), 1, 2), ((16, 24), 4, 1), ((15, 12), 3, 2)]


@pytest.mark.parametrize(("shape", "patch", "channels"), GRIDS)
@pytest.mark.parametrize("room", ["cosines", "more", "all"])
@torch.no_grad()
def test_they_invert_each_other_at_the_start_where_the_latent_has_room(shape, patch, channels, room):
    complete = patch ** len(shape) * channels
    dim = {"cosines": complete, "more": complete + complete // 2, "all": complete * 2 ** len(shape)}[room]
    encoder, decoder = networks(shape, patch, channels, dim)
    u = field(shape, channels)
    z = encoder(u)
    assert z.shape == (2, encoder.grid.count, dim)
    assert relative(decoder(z), u) < 1e-6
    if room == "cosines":
        assert relative(encoder(decoder(z)), z) < 1e-6
        assert z.norm().item() == pytest.approx(u.norm().item(), rel=1e-5)  # an orthonormal basis


@torch.no_grad()
def test_a_smaller_latent_keeps_the_lowest_waves():
    u = torch.cos(TAU * 2 * centres(64))[None]
    errors = []
    for dim in (2, 4, 8):
        encoder, decoder = networks((64,), 8, 1, dim)
        errors.append(relative(decoder(encoder(u)), u))
    assert errors[0] < 0.1 and errors == sorted(errors, reverse=True) and errors[2] < 1e-6


@torch.no_grad()
def test_they_invert_each_other_away_from_the_ends_of_an_axis_that_is_not_periodic():
    """At the ends the padding is a guess, which training mends (next test)."""
    encoder, decoder = networks((64,), 8, 1, 8, periodic=False)
    u = 1 + torch.sin(3 * centres(64))[None]
    error = (decoder(encoder(u)) - u).abs()[0, :, 0]
    assert error[4:-4].max() < 1e-5
    assert error.max() < 0.2 * u.abs().max()


def test_the_ends_of_an_axis_that_is_not_periodic_are_learned():
    torch.manual_seed(0)
    encoder, decoder = networks((32,), 8, 1, 16, periodic=False)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
    amplitude, phase = torch.rand(64, 1), TAU * torch.rand(64, 1)
    u = (amplitude + torch.sin(4 * centres(32).T + phase)).unsqueeze(-1)
    before = relative(decoder(encoder(u)).detach(), u)
    for _ in range(150):
        optimiser.zero_grad()
        (decoder(encoder(u)) - u).square().mean().backward()
        optimiser.step()
    assert relative(decoder(encoder(u)).detach(), u) < before / 4


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("shape", "patch", "channels"), GRIDS)
@torch.no_grad()
def test_decoding_at_the_grids_points_is_decoding_on_the_grid(shape, patch, channels, periodic):
    decoder = networks(shape, patch, channels, 6, periodic)[1]
    scrambled(decoder)
    z = torch.randn(2, decoder.grid.count, 6)
    on_grid = decoder(z)
    assert on_grid.shape == (2, *shape, channels)
    at_points = decoder(z, centres(*shape))
    assert at_points.shape == (2, decoder.grid.count * patch ** len(shape), channels)
    assert relative(at_points.view_as(on_grid), on_grid) < 3e-6


@pytest.mark.parametrize(("room", "bound"), [(1, 0.02), (2, 0.002)])
@pytest.mark.parametrize(("points", "patch"), [(64, 8), (63, 7), (128, 8), (512, 8)])
@torch.no_grad()
def test_a_smooth_field_is_decoded_between_grid_points(points, patch, room, bound):
    """Within 2 % with the cosines alone, 0.2 % with the sines too, at 30 grid points a wave or more."""
    encoder, decoder = networks((points,), patch, 1, room * patch, dtype=torch.float64)

    def wave(x):
        return torch.sin(TAU * x) + 0.5 * torch.cos(2 * TAU * x + 1)

    u = wave(centres(points, dtype=torch.float64))[None]
    anywhere = torch.rand(500, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert relative(decoder(encoder(u), anywhere)[0], wave(anywhere)) < bound


@torch.no_grad()
def test_a_field_in_two_dimensions_is_decoded_between_grid_points():
    encoder, decoder = networks((64, 32), 4, 1, 64, dtype=torch.float64)

    def wave(x):
        return (torch.sin(TAU * x[:, 0]) * torch.cos(TAU * x[:, 1] + 1)).unsqueeze(-1)

    u = wave(centres(64, 32, dtype=torch.float64)).view(1, 64, 32, 1)
    anywhere = torch.rand(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert relative(decoder(encoder(u), anywhere)[0], wave(anywhere)) < 0.005


@torch.no_grad()
def test_the_ends_of_a_periodic_axis_decode_alike():
    decoder = networks((64,), 8, 2, 8)[1]
    scrambled(decoder)
    ends = decoder(torch.randn(1, 8, 8), torch.tensor([[0.0], [1.0]]))[0]
    assert torch.allclose(ends[0], ends[1], atol=1e-5)


@pytest.mark.parametrize(("shape", "patch", "channels"), GRIDS)
@torch.no_grad()
def test_shifting_a_periodic_field_by_a_patch_shifts_its_tokens(shape, patch, channels):
    encoder, decoder = scrambled(*networks(shape, patch, channels, 5))
    u, axes = field(shape, channels), tuple(range(1, len(shape) + 1))
    steps = tuple(range(1, len(shape) + 1))
    shifted = encoder(u.roll([patch * step for step in steps], axes))
    tokens = encoder(u).unflatten(1, encoder.grid.cells).roll(steps, axes).flatten(1, len(shape))
    assert relative(shifted, tokens) < 1e-6
    decoded = decoder(encoder(u)).roll([patch * step for step in steps], axes)
    assert relative(decoder(shifted), decoded) < 1e-6


@torch.no_grad()
def test_standardising_the_latent_leaves_the_decoded_field_alone():
    encoder, decoder = networks((64,), 8, 1, 8)
    u = field((64,), 1)
    z = encoder(u)
    for part in (encoder, decoder):
        part.mean.copy_(z.mean((0, 1)))
        part.std.copy_(z.std((0, 1)))
    standard = encoder(u)
    assert standard.mean((0, 1)).abs().max() < 1e-6
    assert (standard.std((0, 1)) - 1).abs().max() < 1e-6
    assert relative(decoder(standard), u) < 1e-6
