"""Rollouts are scored in physical units, from the right frame, the same however they are batched."""

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from ups_engine.config.layers import load_settings
from ups_engine.config.models import BackboneSettings, ConvSettings
from ups_engine.config.stages import NoiseSettings
from ups_engine.data.prepare import prepare_data
from ups_engine.evaluation.rollout import (
    Rollouts,
    reconstruction,
    roll_out,
    single_steps,
    spread,
    true_batches,
    try_persistence,
    try_surrogate,
)
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.diffusion import ConsistencyResidual, DiffusionResidual
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.models.tokens import TokenGrid
from ups_engine.training.randomness import keys, normal

CPU = torch.device("cpu")
BACKBONE = BackboneSettings(hidden=16, depth=1, heads=2, mlp_ratio=2)
CONV = ConvSettings(hidden=8, depth=1)
POINTS, FRAMES, PATCH, TRAJECTORIES = 32, 9, 4, 13


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    """Smooth waves about a mean of 3, carried by exactly one patch a frame, in PDEBench's layout."""
    folder = tmp_path_factory.mktemp("waves")
    generator = np.random.default_rng(0)
    amplitude, phase = generator.normal(size=(2, TRAJECTORIES, 1, 5))
    x = (np.arange(POINTS) + 0.5) / POINTS
    waves = np.sin(2 * np.pi * np.arange(1, 6) * x[:, None] + phase) * amplitude  # (N, X, 5)
    start = 3 + waves.sum(-1)
    tensor = np.stack([np.roll(start, PATCH * frame, axis=1) for frame in range(FRAMES)], axis=1)
    with h5py.File(folder / "waves.h5", "w") as file:
        file["tensor"] = tensor.astype(np.float32)
        file["x-coordinate"] = x.astype(np.float32)
        file["t-coordinate"] = (0.1 * np.arange(FRAMES + 1)).astype(np.float32)
    settings = load_settings(
        overrides=[f"data.path={folder / 'waves.h5'}", "data.spatial_stride=1", "data.time_stride=1"],
        folder=folder,
        env={},
        home=folder,
    ).settings
    return prepare_data(settings).members[0]


class Carry(nn.Module):
    """The waves' own operator: every token moves on by one cell."""

    def forward(self, z, cond, dt):
        return z.roll(1, 1)


def surrogate(member, operator="network", corrector=None, temperature=1.0, scrambled=True):
    torch.manual_seed(0)
    grid = TokenGrid.fit(member.discretisation.shape, PATCH, member.discretisation.periodic)
    parts = [GridEncoder(grid, 1, 6, CONV), GridDecoder(grid, 1, 6, CONV)]
    shared = {"parameters": len(member.parameter_names), "reference_dt": member.dt}
    parts.append(Carry() if operator == "carry" else LatentOperator(grid, 6, BACKBONE, **shared))
    steps = 0
    if corrector is not None:
        noise, steps = NoiseSettings(sigma_min=0.01, sigma_max=10.0, rho=7.0), 2
        parts.append(corrector(grid, 6, BACKBONE, noise, **shared))
        parts[-1].scale.fill_(0.05)
    if scrambled:
        with torch.no_grad():
            for part in parts:
                for parameter in part.parameters():
                    parameter.add_(0.02 * torch.randn_like(parameter))
    return Surrogate(*parts, steps=steps, temperature=temperature).eval()


def noise(frame, rows, shape):
    return normal(keys(0, "test", 0, range(frame, frame + 1), "noise")[0], (len(rows), *shape), rows)


def rollouts(member, initial_steps=1, batch_size=64):
    return Rollouts(member.splits.all(), initial_steps, batch_size)


def nrmse(predicted, truth):
    """By hand: per trajectory and frame, RMS error over RMS of the truth, then the mean."""
    error = np.sqrt(np.square(predicted - truth).mean((2, 3))) / np.sqrt(np.square(truth).mean((2, 3)))
    return error.mean(), error.mean(0)


@pytest.mark.parametrize("initial_steps", [1, 3, FRAMES - 1])
def test_persistence_is_the_last_given_frame_kept(member, initial_steps):
    fields = member.read(member.splits.all()).astype(np.float64)
    trial = try_persistence(member, rollouts(member, initial_steps), CPU)
    truth = fields[:, initial_steps:]
    expected, by_frame = nrmse(np.repeat(fields[:, initial_steps - 1 : initial_steps], truth.shape[1], 1), truth)
    assert trial.rollout.nrmse == pytest.approx(expected, rel=1e-6)
    assert trial.rollout.nrmse_by_frame == pytest.approx(by_frame, rel=1e-6)
    assert trial.one_step.nrmse == pytest.approx(nrmse(fields[:, :-1], fields[:, 1:])[0], rel=1e-6)


@pytest.mark.parametrize("corrector", [None, DiffusionResidual, ConsistencyResidual])
def test_scores_do_not_depend_on_the_batch_size(member, corrector):
    model = surrogate(member, corrector=corrector)
    found = [try_surrogate(model, member, rollouts(member, 2, size), CPU, noise) for size in (1, 4, TRAJECTORIES, 64)]
    assert 0.01 < found[0].rollout.nrmse < 10
    for trial in found[1:]:
        for kind in ("rollout", "one_step"):
            one, other = getattr(trial, kind), getattr(found[0], kind)
            assert one.nrmse == pytest.approx(other.nrmse, rel=1e-5)
            assert one.channels[0].brmse == pytest.approx(other.channels[0].brmse, rel=1e-5)
            assert one.nrmse_by_frame == pytest.approx(other.nrmse_by_frame, rel=1e-5)


@torch.no_grad()
def test_a_trajectorys_noise_is_its_own_in_every_frame(member):
    model = surrogate(member, corrector=DiffusionResidual)
    [batch] = true_batches(member, rollouts(member), CPU)
    rolled = roll_out(model, member, batch, 1, noise)
    alone = Rollouts(member.splits.all()[4:5], 1, 1)
    [single] = true_batches(member, alone, CPU)
    assert torch.allclose(roll_out(model, member, single, 1, noise), rolled[4:5], rtol=1e-4, atol=1e-4)
    cold = surrogate(member, corrector=DiffusionResidual, temperature=0.0)
    assert (roll_out(cold, member, batch, 1, noise) - rolled).abs().max() > 0.01
    drawn = torch.stack([noise(frame, batch.rows, (2, 8, 6)) for frame in (1, 2)]).flatten()
    assert len(set(drawn.tolist())) > 0.999 * len(drawn)


@pytest.mark.parametrize("initial_steps", [1, 4])
def test_the_true_operator_has_no_error_in_any_frame(member, initial_steps):
    model = surrogate(member, operator="carry", scrambled=False)
    trial = try_surrogate(model, member, rollouts(member, initial_steps), CPU, noise)
    still = try_persistence(member, rollouts(member, initial_steps), CPU)
    assert len(trial.rollout.nrmse_by_frame) == FRAMES - initial_steps
    assert max(trial.rollout.nrmse_by_frame) < 2e-6
    assert trial.one_step.nrmse < 2e-6
    assert still.rollout.nrmse > 0.1
    assert trial.milliseconds_per_step > 0


def test_an_untrained_surrogate_is_persistence(member):
    trial = try_surrogate(surrogate(member, scrambled=False), member, rollouts(member), CPU, noise)
    still = try_persistence(member, rollouts(member), CPU)
    assert trial.rollout.nrmse == pytest.approx(still.rollout.nrmse, rel=1e-5)
    assert trial.one_step.nrmse == pytest.approx(still.one_step.nrmse, rel=1e-5)


@torch.no_grad()
def test_a_rollout_feeds_on_itself_and_a_single_step_on_the_truth(member):
    model = surrogate(member)
    [batch] = true_batches(member, rollouts(member), CPU)
    rolled, single = roll_out(model, member, batch, 1, noise), single_steps(model, member, batch, noise)
    assert rolled.shape == single.shape == (TRAJECTORIES, FRAMES - 1, POINTS, 1)
    assert torch.allclose(rolled[:, 0], single[:, 0], rtol=1e-5, atol=1e-5)
    z = model.encoder(member.normalisation.apply(rolled[:, 3]))
    again = model.decoder(model.predict(z, batch.cond, batch.dt))
    assert torch.allclose(member.normalisation.invert(again), rolled[:, 4], rtol=1e-4, atol=1e-4)
    z = model.encoder(member.normalisation.apply(batch.fields[:, 4]))
    once = model.decoder(model.predict(z, batch.cond, batch.dt))
    assert torch.allclose(member.normalisation.invert(once), single[:, 4], rtol=1e-5, atol=1e-5)


def test_reconstruction_is_exact_where_the_latent_is_complete(member):
    scores = reconstruction(surrogate(member, scrambled=False), member, rollouts(member, batch_size=5), CPU)
    assert scores.nrmse < 1e-6
    assert reconstruction(surrogate(member), member, rollouts(member), CPU).nrmse > 1e-3


def test_batches_name_their_trajectories(member):
    found = list(true_batches(member, rollouts(member, batch_size=5), CPU))
    assert [len(batch.fields) for batch in found] == [5, 5, 3]
    assert torch.cat([batch.rows for batch in found]).tolist() == member.splits.all().tolist()
    assert torch.equal(found[1].fields, torch.from_numpy(member.read(member.splits.all()[5:10])))
    assert found[0].dt.tolist() == pytest.approx([0.1] * 5)


def test_a_stop_between_batches_is_heard(member):
    class StoppedError(Exception):
        pass

    asked = []

    def between():
        asked.append(1)
        if len(asked) == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        try_surrogate(surrogate(member), member, rollouts(member, batch_size=5), CPU, noise, between)


def test_a_few_rows_are_spread_evenly():
    rows = np.arange(100, 200)
    assert spread(rows, 200) is rows
    assert spread(rows, 4).tolist() == [100, 133, 166, 199]
