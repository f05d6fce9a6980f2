"""The steady prior: from any frame to the last, told the time that is left."""

import numpy as np
import pytest
import torch
from lab import loss

from ups_engine.evaluation.metrics import score
from ups_engine.losses.functions import mse
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.stages.steady_prior import steady_scores

FORWARD = ["training.lambda_forward=1", "training.lambda_relative=0"]


def codec(lab):
    results = lab.context().results
    return results.frozen("encoder", GridEncoder), results.frozen("decoder", GridDecoder)


def test_an_untrained_priors_loss_is_the_distance_of_each_frame_to_the_last(lab):
    task = lab.task("steady_prior", *FORWARD)
    fields = torch.from_numpy(lab.member.read(lab.member.splits.train))
    with torch.no_grad():
        z = codec(lab)[0](lab.member.normalisation.apply(fields.flatten(0, 1))).unflatten(0, fields.shape[:2])
        found = loss(task, torch.arange(task.samples[0])).total.item()
    assert task.samples == (len(fields) * 6,)
    assert found == pytest.approx(mse(z[:, :-1], z[:, -1:].expand(-1, 6, -1, -1)).item(), rel=1e-4)


def test_the_prior_is_told_the_time_that_is_left(lab):
    task, told = lab.task("steady_prior", *FORWARD), []
    task.network.register_forward_hook(lambda module, args, output: told.append(args[2]))
    loss(task, torch.tensor([0, 5, 6, 11]))  # frames 0 and 5 of two trajectories
    dt = lab.member.dt
    assert told[0].tolist() == pytest.approx([6 * dt, dt, 6 * dt, dt])


def test_errors_are_of_the_last_frame_from_the_first_in_physical_units(lab):
    task = lab.task("steady_prior")
    found, still = steady_scores(task.network, *codec(lab), lab.member, "val")
    ends = torch.from_numpy(lab.member.read(lab.member.splits.val, np.array([0, 6])))
    assert still == score(ends[:, :1], ends[:, 1:], lab.member.discretisation, lab.member.normalisation)
    assert found.nrmse == pytest.approx(
        still.nrmse, rel=0.05
    )  # untrained: the identity, within the reconstruction's error


def test_training_it_brings_the_last_frame_nearer(lab, tmp_path):
    given = ("stages.steady_prior.epochs=12", "stages.steady_prior.optimizer.lr=0.01", "training.ema_decay=0.9")
    trainer, end, task = lab.train("steady_prior", tmp_path, *given)
    _, still = steady_scores(trainer.network, *codec(lab), lab.member, "val")
    assert end.at.best < 0.8 * still.relative
    saved = task.results(trainer.network, trainer.averaged.module)["steady_prior"]
    assert isinstance(saved, LatentOperator) and saved is trainer.averaged.module
