"""The operator stage: pairs, horizons, weights and validation as the settings say."""

import pytest
import torch
from lab import draw

from ups_engine.evaluation.rollout import Protocol, try_persistence
from ups_engine.losses import mse, relative_loss
from ups_engine.stages.networks import max_horizon
from ups_engine.stages.operator import horizon_at, loss_weights

FORWARD = ["training.lambda_forward=1", "training.lambda_relative=0"]
CURRICULUM = (
    "stages.operator.curriculum=[{from_epoch=1, rollout_horizon=2}, {from_epoch=3, rollout_horizon=4}]",
    "stages.operator.epochs=5",
)


def true_latents(lab, context):
    """Latents of the training trajectories straight from the fields, (n, T, tokens, dim)."""
    task = lab.task("operator")
    fields = torch.from_numpy(lab.dataset.read(lab.dataset.splits.train))
    with torch.no_grad():
        return task._encoder(lab.dataset.normalisation.apply(fields.flatten(0, 1))).unflatten(0, fields.shape[:2])


def test_an_untrained_operators_loss_is_that_of_persistence_between_frames(lab):
    z = true_latents(lab, lab.context())
    task = lab.task("operator", *FORWARD)
    assert task.samples == z.shape[0] * (z.shape[1] - 1)
    loss = task.loss(torch.arange(task.samples), draw()).components["L_forward"].item()
    assert loss == pytest.approx(mse(z[:, :-1], z[:, 1:]).item(), rel=1e-4)


def test_an_untrained_operators_relative_loss_is_persistences_error_in_physical_units(lab):
    task = lab.task("operator", "training.lambda_relative=1")
    fields = torch.from_numpy(lab.dataset.read(lab.dataset.splits.train))
    loss = task.loss(torch.arange(task.samples), draw()).components["L_relative"].item()
    expected = relative_loss(fields[:, :-1].flatten(0, 1), fields[:, 1:].flatten(0, 1)).item()
    assert loss == pytest.approx(expected, rel=0.02)  # decoded latents, within the reconstruction's error


def test_the_horizon_grows_by_the_curriculum(lab):
    settings = lab.settings(*CURRICULUM)
    assert [horizon_at(settings, epoch) for epoch in range(5)] == [1, 2, 2, 4, 4]
    assert max_horizon(settings) == 4
    task = lab.task("operator", *FORWARD, "training.lambda_rollout=1", *CURRICULUM)
    assert task.samples == len(lab.dataset.splits.train) * 3
    terms = [set(task.loss(torch.arange(4), draw(epoch=epoch)).components) for epoch in range(4)]
    assert terms == [{"L_forward"}] + [{"L_forward", "L_rollout"}] * 3


def test_an_unrolled_step_goes_through_decoder_and_encoder_as_a_rollout_does(lab):
    task = lab.task("operator", "training.rollout_horizon=2")
    with torch.no_grad():
        task.network.backbone.head.weight.normal_(std=0.05)
        pairs = task._pairs.batch(torch.arange(4), horizon=2)
        predicted, decoded = task._unroll(pairs, loss_weights(task._settings, draw()))
        first = task.network(pairs.z0, pairs.cond, pairs.dt)
        second = task.network(task._encoder(task._decoder(first)), pairs.cond, pairs.dt)
    assert torch.equal(predicted, torch.stack([first, second], 1))
    assert torch.equal(decoded[:, 1], task._decoder(second))


def test_inverse_losses_follow_their_curriculum_and_frequency(lab):
    given = (
        "training.use_inverse_losses=true",
        "training.lambda_inv_enc=0.04",
        "training.lambda_inv_dec=9",
        "training.inverse_loss_warmup_epochs=2",
        "training.inverse_loss_frequency=3",
        "stages.operator.epochs=9",
    )
    settings = lab.settings(*given)
    by_epoch = [loss_weights(settings, draw(epoch=epoch)) for epoch in range(5)]
    assert [weights.inv_enc for weights in by_epoch] == pytest.approx([0, 0, 0, 0.02, 0.04])
    assert [weights.inv_dec for weights in by_epoch] == pytest.approx([0, 0, 0, 0.025, 0.05])
    by_step = [loss_weights(settings, draw(epoch=8, total_step=step)).inv_enc for step in range(6)]
    assert by_step == [0.04, 0, 0, 0.04, 0, 0]
    task = lab.task("operator", *given)
    assert "L_inv_enc" in task.loss(torch.arange(4), draw(epoch=8)).components
    assert "L_inv_enc" not in task.loss(torch.arange(4), draw(epoch=8, total_step=1)).components


@torch.no_grad()
def test_validation_is_the_rollouts_error_in_physical_units(lab):
    """An untrained operator is persistence, but for the reconstruction's error at every step."""
    task = lab.task("operator")
    measured = task.validate(task.network.eval())
    still = try_persistence(lab.dataset, Protocol(lab.dataset.splits.val, 1, 64), torch.device("cpu"))
    assert measured["score"] == pytest.approx(still.rollout.nrmse, rel=0.05)
    assert measured["one_step_nrmse"] == pytest.approx(still.one_step.nrmse, rel=0.05)


def test_a_batch_is_described_by_trajectory_and_frame(lab):
    task, train = lab.task("operator"), lab.dataset.splits.train
    assert task.describe(torch.tensor([0, 7])) == f"trajectory {train[0]} frame 0, trajectory {train[1]} frame 1"
