"""Stage `autoencoder`: encoder and decoder, trained together on fields.

The loss is MSE(D(E(u)), u) in normalised units, plus lambda_inv_dec times MSE(E(D(z)), z) at z = E(u), which keeps the
encoder a left inverse of the decoder. Both start as a lapped transform that is complete when the latent has room for
it; training adapts it to the data, for an epoch where nothing is lost before, else for all that the settings allow.
"""

from collections.abc import Mapping
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn

from ups_engine.data.fields import TrainingFields
from ups_engine.data.member import Member
from ups_engine.evaluation.metrics import score
from ups_engine.evaluation.rollout import reconstruct, spread
from ups_engine.losses.functions import inverse_decoding_loss, mse
from ups_engine.losses.terms import LossBundle
from ups_engine.models.autoencoder import Autoencoder
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.stages.base import StageTask, TrainingStage
from ups_engine.stages.context import StageContext
from ups_engine.training.task import Batch, Inputs

VALIDATED = 16
"""Validation trajectories of a member that an epoch is judged by, at most."""
STANDARDISED_BY = 128
"""Training trajectories of a member that the latent's mean and deviation are measured on, at most."""
EXACT = 1e-5
"""Relative error of the reconstruction before training at which nothing is lost: no operator comes near it."""
SMALLEST_SPREAD = 1e-3
"""Standard deviation of a latent channel that is divided by, at least, relative to the largest."""


class AutoencoderTask(StageTask):
    """Reconstruction of random frames of the training trajectories."""

    network: Autoencoder
    purposes = ("frames",)

    def __init__(self, context: StageContext) -> None:
        settings, members = context.settings.stages.autoencoder, context.collection.members
        self._context, self._members = context, members
        self._lambda_inv_dec = settings.lambda_inv_dec
        self.network = Autoencoder(
            context.results.fresh("encoder", GridEncoder), context.results.fresh("decoder", GridDecoder)
        )
        self._fields = tuple(context.fields(member) for member in members)
        self.samples = tuple(len(fields) * settings.frames_per_trajectory for fields in self._fields)

    def prepare(self, batch: Batch) -> Inputs:
        """Fields of the trajectories that are the sample numbers modulo their number, each at a frame of its own."""
        fields, frames = self._fields[batch.member], self._members[batch.member].frames
        when = (batch.noise.uniform("frames", (len(batch),)) * frames).long()
        return Inputs({"u": fields.gather(batch.numbers % len(fields), when)}, batch.noise)

    def loss(self, inputs: Inputs) -> LossBundle:
        """See the module's page."""
        u = inputs["u"]
        z, decoded = self.network(u)
        rec = mse(decoded, u)
        if not self._lambda_inv_dec:
            return LossBundle(rec, {"L_rec": rec.detach()})
        encoded, _ = self.network(decoded, decode=False)
        inv_dec = inverse_decoding_loss(encoded, z)
        return LossBundle(rec + self._lambda_inv_dec * inv_dec, {"L_rec": rec.detach(), "L_inv_dec": inv_dec.detach()})

    def describe(self, member: int, numbers: Tensor) -> str:
        """See `Task.describe`."""
        return self._fields[member].describe(numbers % len(self._fields[member]))

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Relative error of the reconstruction, every fourth frame, mean over members."""
        assert isinstance(network, Autoencoder)
        return {"score": float(np.mean([self._error(network, member) for member in self._members]))}

    @torch.no_grad()
    def effort(self, most: int) -> tuple[int, str | None]:
        """See `Task.effort`."""
        settings = self._context.settings.stages.autoencoder
        enough = max(1, ceil(2 * settings.scheduler.warmup_epochs))  # as long again as the learning rate rises
        if most <= enough or (error := self.validate(self.network)["score"]) > EXACT:
            return most, None
        return enough, f"nothing is lost: a reconstruction error of {error:.1g} before training"

    def _error(self, network: Autoencoder, member: Member) -> float:
        rows, frames = spread(member.splits.val, VALIDATED), np.arange(0, member.frames, 4)
        fields = torch.from_numpy(member.read(rows, frames)).to(self._context.device)
        found = reconstruct(network.encoder, network.decoder, member, fields)
        return score(found, fields, member.discretisation, member.normalisation).relative

    @torch.no_grad()
    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The averaged pair, its latent standardised per channel with training statistics."""
        assert isinstance(averaged, Autoencoder)
        mean, std = latent_moments(averaged.encoder, self._fields)
        for part in (averaged.encoder, averaged.decoder):
            part.mean.copy_(mean)
            part.std.copy_(std)
        return {"encoder": averaged.encoder, "decoder": averaged.decoder}


def latent_moments(encoder: GridEncoder, parts: tuple[TrainingFields, ...]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (dim,) of an encoder's latents over a sample of training trajectories."""
    moments = []
    for fields in parts:
        for row in spread(np.arange(len(fields)), STANDARDISED_BY).tolist():
            z = encoder(fields.trajectory(row)).double()  # (T, tokens, dim)
            moments.append(torch.stack([z.mean((0, 1)), z.square().mean((0, 1))]))
    mean, square = torch.stack(moments).mean(0)
    std = (square - mean**2).clamp_min(0).sqrt()
    return mean, std.clamp_min(SMALLEST_SPREAD * float(std.max()))


STAGE = TrainingStage(name="autoencoder", needs=(), writes=("encoder", "decoder"), make=AutoencoderTask, version=3)
