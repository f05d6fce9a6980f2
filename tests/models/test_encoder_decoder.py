"""Encoder and decoder: inverse at the start, exact under shifts by a patch, and decodable between grid points."""

import pytest
import torch

from ups_engine.config.models import ConvSettings
from ups_engine.errors import CheckpointError
from ups_engine.models.decoder import GridDecoder, upgraded_decoder
from ups_engine.models.encoder import GridEncoder, upgraded_encoder
from ups_engine.models.lapped import wave_order
from ups_engine.models.tokens import TokenGrid, pad

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


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("shape", "patch", "channels"), GRIDS)
@pytest.mark.parametrize("room", ["cosines", "more", "all"])
@torch.no_grad()
def test_they_invert_each_other_at_the_start_where_the_latent_has_room(shape, patch, channels, room, periodic):
    complete = patch ** len(shape) * channels
    dim = {"cosines": complete, "more": complete + complete // 2, "all": complete * 2 ** len(shape)}[room]
    encoder, decoder = networks(shape, patch, channels, dim, periodic)
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


@pytest.mark.parametrize("room", [1, 2])
@pytest.mark.parametrize("shape", [(64,), (24, 16), (8, 12, 8)])
@torch.no_grad()
def test_mirroring_an_open_axis_swaps_cosines_and_sines_of_mirrored_tokens(shape, room):
    """With both families; with the cosines alone, whose mirrors the latent lacks, the decoded field is mirrored."""
    axes = len(shape)
    patch = 4 if axes < 3 else 2
    dim = (room * patch) ** axes
    encoder, decoder = networks(shape, patch, 1, dim, periodic=False, dtype=torch.float64)
    u = field(shape, 1).double()
    for axis in range(axes):
        z, mirrored = encoder(u), encoder(u.flip(axis + 1))
        assert relative(decoder(mirrored), decoder(z).flip(axis + 1)) < 1e-6
        if room == 2:
            order = wave_order(patch, axes)
            partner = [
                order.index((*wave[:axis], (wave[axis] + patch) % (2 * patch), *wave[axis + 1 :])) for wave in order
            ]
            sign = torch.tensor([-((-1.0) ** (wave[axis] % patch)) for wave in order])
            expected = (z[..., partner] * sign).unflatten(1, encoder.grid.cells).flip(axis + 1).flatten(1, axes)
            assert relative(mirrored, expected) < 1e-6


@pytest.mark.parametrize("patch", [4, 5, 8, 16])
@torch.no_grad()
def test_fields_with_any_slope_at_open_ends_are_decoded_there_between_grid_points(patch):
    """Within 2 % over the first and the last token, 1 % elsewhere, of a wave of 24 grid points on a slope."""
    encoder, decoder = networks((80,), patch, 1, 2 * patch, periodic=False, dtype=torch.float64)

    def smooth(x):
        return torch.sin(20 * x + 0.3) + 1 - x

    u = smooth(centres(80, dtype=torch.float64))[None]
    x = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    error = (decoder(encoder(u), x)[0] - smooth(x)).square()[:, 0]
    size, edge = smooth(x).square().mean(), (x[:, 0] < patch / 80) | (x[:, 0] > 1 - patch / 80)
    assert (error[edge].mean() / size).sqrt() < 0.02
    assert (error[~edge].mean() / size).sqrt() < 0.01


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


@pytest.mark.parametrize(("shape", "patch", "channels"), GRIDS)
@torch.no_grad()
def test_weights_for_a_windows_points_become_weights_for_its_waves(shape, patch, channels):
    """The first version's encoder: its linear layers took the points themselves."""
    encoder = scrambled(networks(shape, patch, channels, 5)[0])[0].double()
    u, grid, weights = field(shape, channels).double(), encoder.grid, encoder.state_dict()
    points = u
    for axis in range(grid.axes):
        points = pad(points, axis + 1, patch // 2, patch - patch // 2, periodic=True).unfold(axis + 1, 2 * patch, patch)
    points = points.movedim(grid.axes + 1, -1).reshape(2, grid.count, -1)
    before = points @ weights["linear.weight"].mT + weights["linear.bias"]
    upgraded = upgraded_encoder(weights, grid)
    after = encoder.coefficients(u) @ upgraded["linear.weight"].mT + weights["linear.bias"]
    assert relative(after, before) < 1e-5  # the tables of waves are float32


def test_weights_of_the_first_version_are_refused_where_an_axis_ends():
    encoder, decoder = networks((64,), 8, 1, 8, periodic=False)
    for upgrade, part in ((upgraded_encoder, encoder), (upgraded_decoder, decoder)):
        with pytest.raises(CheckpointError, match="lost part of the field at ends"):
            upgrade(part.state_dict(), part.grid)
