"""The autoencoder stage: a standardised latent that its decoder inverts."""

import pytest
import torch
from lab import inputs

from ups_engine.evaluation.metrics import score
from ups_engine.evaluation.rollout import reconstruct
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.runs.checkpoints import load_result


def pair(context):
    results = context.results
    return results.frozen("encoder", GridEncoder), results.frozen("decoder", GridDecoder)


@torch.no_grad()
def test_the_latent_is_standardised_per_channel_over_the_training_data(lab):
    encoder, _ = pair(lab.context())
    fields = torch.from_numpy(lab.member.read(lab.member.splits.train)).flatten(0, 1)
    z = encoder(lab.member.normalisation.apply(fields)).double()
    assert z.shape == (len(fields), 8, 8)
    assert z.mean((0, 1)).abs().max() < 1e-4
    assert (z.std((0, 1)) - 1).abs().max() < 2e-3
    assert encoder.std.max() / encoder.std.min() > 5  # it was not so before


@torch.no_grad()
def test_the_saved_decoder_inverts_the_saved_encoder_as_well_as_validation_said(lab):
    encoder, decoder = pair(lab.context())
    rows = lab.member.splits.val
    fields = torch.from_numpy(lab.member.read(rows))[:, ::4]
    _, sidecar = load_result(lab.run, "encoder")
    error = score(
        reconstruct(encoder, decoder, lab.member, fields), fields, lab.member.discretisation, lab.member.normalisation
    ).relative
    assert error == pytest.approx(sidecar["metrics"]["score"], rel=1e-3)
    assert error < 0.02


def test_a_channel_that_hardly_varies_is_not_blown_up(lab, tmp_path):
    trainer, _, task = lab.train("autoencoder", tmp_path, "latent.dim=16", "stages.autoencoder.epochs=1")
    network = trainer.averaged.module
    with torch.no_grad():
        network.encoder.linear.weight[3] = 0
        network.encoder.linear.bias[3] = 0
        network.encoder.head.weight[3] = 0
        network.encoder.head.bias[3] = 0
    encoder = task.results(trainer.network, network)["encoder"]
    assert encoder.std[3].item() == pytest.approx(1e-3 * encoder.std.max().item(), rel=1e-5)
    fields = torch.from_numpy(lab.member.read(lab.member.splits.train))[:, 0]
    assert encoder(lab.member.normalisation.apply(fields))[..., 3].abs().max() < 1e-3


def test_an_epoch_draws_every_trajectory_as_often_as_asked_at_frames_of_its_own(lab, monkeypatch):
    task = lab.task("autoencoder", "stages.autoencoder.frames_per_trajectory=5")
    train = lab.member.splits.train
    assert task.samples == (5 * len(train),)
    asked, read = [], lab.member.reader.read
    monkeypatch.setattr(
        lab.member.reader, "read", lambda rows, frames: asked.append((rows, frames)) or read(rows, frames)
    )
    for step in range(40):
        inputs(task, torch.arange(task.samples[0]), step=step)
    rows, _ = asked[0]
    assert sorted(rows.tolist()) == sorted(train.tolist() * 5)
    counts = torch.bincount(torch.cat([torch.from_numpy(f).flatten() for _, f in asked]), minlength=7)
    assert len(counts) == lab.member.frames
    assert counts.min() > 0.8 * counts.float().mean()


def test_a_batch_is_described_by_its_trajectories(lab):
    task = lab.task("autoencoder")
    train = lab.member.splits.train
    assert task.describe(0, torch.tensor([0, len(train) + 1])) == f"trajectories {train[0]}, {train[1]}"
    assert task.describe(0, torch.arange(9)).endswith(" ...")


@pytest.mark.parametrize(("dim", "most", "epochs"), [(8, 5, 1), (8, 1, 1), (6, 5, 5)])
def test_where_nothing_is_lost_before_training_one_epoch_is_enough(lab, tmp_path, dim, most, epochs):
    given = (f"latent.dim={dim}", f"stages.autoencoder.epochs={most}", "stages.autoencoder.frames_per_trajectory=1")
    _, end, _ = lab.train("autoencoder", tmp_path, *given)
    assert end.at.epoch == epochs
    assert (end.reason or "").startswith("nothing is lost") == (epochs < most)
