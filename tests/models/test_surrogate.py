"""One step in time through all trained parts."""

import pytest
import torch

from ups_engine.config.models import BackboneSettings, ConvSettings
from ups_engine.config.stages import NoiseSettings
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.diffusion import ConsistencyResidual, DiffusionResidual
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.models.tokens import TokenGrid

BACKBONE = BackboneSettings(hidden=16, depth=1, heads=2, mlp_ratio=2)
CONV = ConvSettings(hidden=8, depth=1)
NOISE = NoiseSettings(sigma_min=0.01, sigma_max=10.0, rho=7.0)


def surrogate(grid, corrector=None, steps=3, dim=6, channels=2):
    torch.manual_seed(0)
    encoder, decoder = GridEncoder(grid, channels, dim, CONV), GridDecoder(grid, channels, dim, CONV)
    operator = LatentOperator(grid, dim, BACKBONE, parameters=1, reference_dt=0.1)
    parts = [encoder, decoder, operator]
    given = {}
    if corrector is not None:
        parts.append(corrector(grid, dim, BACKBONE, NOISE, parameters=1, reference_dt=0.1))
        given = {"steps": steps, "temperature": 1.0}
    with torch.no_grad():
        for part in parts:
            for parameter in part.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return Surrogate(*parts, **given).eval()


@pytest.mark.parametrize("corrector", [None, DiffusionResidual, ConsistencyResidual])
@pytest.mark.parametrize(("shape", "patch"), [((48,), 6), ((35,), 5), ((16, 24), 4)])
@torch.no_grad()
def test_a_periodic_field_shifted_by_a_patch_has_a_shifted_future(shape, patch, corrector):
    grid = TokenGrid.fit(shape, patch, (True,) * len(shape))
    model, axes = surrogate(grid, corrector), tuple(range(1, len(shape) + 1))
    steps = tuple(range(1, len(shape) + 1))
    cond, dt = torch.ones(2, 1), torch.full((2,), 0.2)
    noise = torch.randn(3, 2, grid.count, 6)
    u = torch.randn(2, *shape, 2)

    def future(field, drawn):
        z = model.encoder(field)
        for _ in range(2):
            z, field = model(z, cond, dt, drawn)
        return field

    moved = noise.unflatten(2, grid.cells).roll(steps, tuple(range(2, 2 + len(shape)))).flatten(2, 1 + len(shape))
    shifted = future(u.roll([patch * step for step in steps], axes), moved)
    expected = future(u, noise).roll([patch * step for step in steps], axes)
    assert torch.isfinite(expected).all() and expected.std() > 0.1
    assert ((shifted - expected).norm() / expected.norm()).item() < 1e-5


@torch.no_grad()
def test_a_step_goes_on_from_the_encoding_of_the_field_it_shows():
    grid = TokenGrid.fit((48,), 6, (True,))
    model = surrogate(grid)
    cond, dt, z = torch.ones(2, 1), torch.full((2,), 0.2), torch.randn(2, 8, 6)
    onward, field = model(z, cond, dt)
    assert torch.equal(field, model.decoder(model.predict(z, cond, dt)))
    assert torch.equal(onward, model.encoder(field))


@torch.no_grad()
def test_evaluations_are_counted_as_they_happen():
    grid = TokenGrid.fit((48,), 6, (True,))
    for corrector, expected in ((None, 1), (DiffusionResidual, 4), (ConsistencyResidual, 4)):
        model, calls = surrogate(grid, corrector), []
        for part in (model.operator, model.corrector):
            if part is not None:
                part.backbone.register_forward_hook(lambda *args, calls=calls: calls.append(1))
        model(torch.randn(2, 8, 6), torch.ones(2, 1), torch.full((2,), 0.2), torch.randn(3, 2, 8, 6))
        assert model.evaluations_per_step == len(calls) == expected
