"""The operator stage: pairs, horizons, weights and validation as the settings say."""

import pytest
import torch
from lab import loss

from ups_engine.evaluation.rollout import Rollouts, try_persistence
from ups_engine.losses.functions import mse, relative_loss
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.stages.objective import Objective
from ups_engine.stages.operator import horizon_at, max_horizon
from ups_engine.training.task import Moment

FORWARD = ["training.lambda_forward=1", "training.lambda_relative=0"]
CURRICULUM = (
    "stages.operator.curriculum=[{from_epoch=1, rollout_horizon=2}, {from_epoch=3, rollout_horizon=4}]",
    "stages.operator.epochs=5",
)


def codec(lab):
    results = lab.context().results
    return results.frozen("encoder", GridEncoder), results.frozen("decoder", GridDecoder)


def true_latents(lab):
    """Latents of the training trajectories straight from the fields, (n, T, tokens, dim)."""
    fields = torch.from_numpy(lab.member.read(lab.member.splits.train))
    with torch.no_grad():
        return codec(lab)[0](lab.member.normalisation.apply(fields.flatten(0, 1))).unflatten(0, fields.shape[:2])


def test_an_untrained_operators_loss_is_that_of_persistence_between_frames(lab):
    z = true_latents(lab)
    task = lab.task("operator", *FORWARD)
    assert task.samples == (z.shape[0] * (z.shape[1] - 1),)
    found = loss(task, torch.arange(task.samples[0])).components["L_forward"].item()
    assert found == pytest.approx(mse(z[:, :-1], z[:, 1:]).item(), rel=1e-4)


def test_an_untrained_operators_relative_loss_is_persistences_relative_error(lab):
    task = lab.task("operator", "training.lambda_relative=1")
    fields = lab.member.normalisation.apply(torch.from_numpy(lab.member.read(lab.member.splits.train)))
    found = loss(task, torch.arange(task.samples[0])).components["L_relative"].item()
    expected = relative_loss(fields[:, :-1].flatten(0, 1), fields[:, 1:].flatten(0, 1)).item()
    assert found == pytest.approx(expected, rel=0.02)  # decoded latents, within the reconstruction's error


def test_the_horizon_grows_by_the_curriculum(lab):
    settings = lab.settings(*CURRICULUM)
    assert [horizon_at(settings, epoch) for epoch in range(5)] == [1, 2, 2, 4, 4]
    assert max_horizon(settings) == 4
    task = lab.task("operator", *FORWARD, "training.lambda_rollout=1", *CURRICULUM)
    assert task.samples == (len(lab.member.splits.train) * 3,)
    terms = [set(loss(task, torch.arange(4), epoch=epoch).components) for epoch in range(4)]
    assert terms == [{"L_forward"}] + [{"L_forward", "L_rollout"}] * 3


def test_an_unrolled_step_goes_through_decoder_and_encoder_as_a_rollout_does(lab):
    task, (encoder, decoder), steps = lab.task("operator", "training.rollout_horizon=2"), codec(lab), []
    task.network.register_forward_hook(lambda module, given, output: steps.append((given[0], output)))
    with torch.no_grad():
        task.network.backbone.head.weight.normal_(std=0.05)
        loss(task, torch.arange(4))
        assert len(steps) == 2
        assert torch.equal(steps[1][0], encoder(decoder(steps[0][1])))


def test_inverse_losses_follow_their_curriculum_and_frequency(lab):
    given = (
        "training.use_inverse_losses=true",
        "training.lambda_inv_enc=0.04",
        "training.lambda_inv_dec=9",
        "training.inverse_loss_warmup_epochs=2",
        "training.inverse_loss_frequency=3",
        "stages.operator.epochs=9",
    )
    objective = Objective(lab.settings(*given).training, torch.device("cpu"), inverse=True)

    def weights(epoch, step=0):
        names, values = objective.at(Moment(epoch, 0, step, 0.0))
        return dict(zip(names, values.tolist(), strict=True))

    assert [weights(epoch).get("inv_enc", 0) for epoch in range(5)] == pytest.approx([0, 0, 0, 0.02, 0.04])
    assert [weights(epoch).get("inv_dec", 0) for epoch in range(5)] == pytest.approx([0, 0, 0, 0.025, 0.05])
    assert [weights(8, step).get("inv_enc", 0) for step in range(6)] == pytest.approx([0.04, 0, 0, 0.04, 0, 0])
    without = Objective(lab.settings(*given).training, torch.device("cpu"), inverse=False)
    assert without.at(Moment(8, 0, 0, 0.0))[0] == ("relative",)
    task = lab.task("operator", *given)
    assert "L_inv_enc" in loss(task, torch.arange(4), epoch=8).components
    assert "L_inv_enc" not in loss(task, torch.arange(4), epoch=8, total_step=1).components


@torch.no_grad()
def test_validation_is_the_rollouts_relative_error(lab):
    """An untrained operator is persistence, but for the reconstruction's error at every step."""
    task = lab.task("operator")
    measured = task.validate(task.network.eval())
    still = try_persistence(lab.member, Rollouts(lab.member.splits.val, 1, 64), torch.device("cpu"))
    assert measured["score"] == pytest.approx(still.rollout.relative, rel=0.05)
    assert measured["one_step_error"] == pytest.approx(still.one_step.relative, rel=0.05)


def test_a_batch_is_described_by_trajectory_and_frame(lab):
    task, train = lab.task("operator"), lab.member.splits.train
    assert task.describe(0, torch.tensor([0, 7])) == f"trajectory {train[0]} frame 0, trajectory {train[1]} frame 1"
