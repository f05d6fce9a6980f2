"""Stage `autoencoder`: encoder and decoder, trained together on fields.

The loss is MSE(D(E(u)), u) in normalised units, plus lambda_inv_dec times MSE(E(D(z)), z) at z = E(u), which keeps the
encoder a left inverse of the decoder. Both start as a lapped transform that is complete when the latent has room for
it; training adapts it to the data, and matters most where the latent is smaller than the patch.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ups_engine.evaluation.metrics import score
from ups_engine.evaluation.rollout import reconstruct, spread
from ups_engine.losses import LossBundle, inverse_decoding_loss, mse
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.stages.base import Stage, StageTask
from ups_engine.stages.context import StageContext
from ups_engine.training.task import Draw

VALIDATED = 16
"""Validation trajectories that an epoch is judged by, at most."""
STANDARDISED_BY = 128
"""Training trajectories that the latent's mean and standard deviation are measured on, at most."""
SMALLEST_SPREAD = 1e-3
"""Standard deviation of a latent channel that is divided by, at least, relative to the largest."""


class Autoencoder(nn.Module):
    """Encoder and decoder under one roof."""

    def __init__(self, encoder: GridEncoder, decoder: GridDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


class AutoencoderTask(StageTask):
    """Reconstruction of random frames of the training trajectories."""

    def __init__(self, context: StageContext) -> None:
        settings = context.settings.stages.autoencoder
        self._context, self._dataset = context, context.dataset
        self._rows = self._dataset.splits.train
        self._lambda_inv_dec = settings.lambda_inv_dec
        self.network: Autoencoder = Autoencoder(
            context.fresh("encoder", GridEncoder), context.fresh("decoder", GridDecoder)
        )
        self.samples = len(self._rows) * settings.frames_per_trajectory

    def loss(self, batch: Tensor, draw: Draw) -> LossBundle:
        """Of the trajectories `batch` modulo their number, each at a frame drawn for this step."""
        frames = (draw.uniform("frames", (len(batch),)) * self._dataset.frames).long().cpu().numpy()
        rows = self._rows[batch.cpu().numpy() % len(self._rows)]
        u = self._normalised(self._dataset.read(rows, frames[:, None])[:, 0])
        z = self.network.encoder(u)
        decoded = self.network.decoder(z)
        rec = mse(decoded, u)
        if not self._lambda_inv_dec:
            return LossBundle(rec, {"L_rec": rec.detach()})
        inv_dec = inverse_decoding_loss(self.network.encoder(decoded), z)
        return LossBundle(rec + self._lambda_inv_dec * inv_dec, {"L_rec": rec.detach(), "L_inv_dec": inv_dec.detach()})

    def describe(self, batch: Tensor) -> str:
        """See `Task.describe`."""
        rows = self._rows[batch.cpu().numpy() % len(self._rows)]
        return f"trajectories {', '.join(map(str, rows[:8].tolist()))}" + (" ..." if len(rows) > 8 else "")

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Reconstruction nRMSE in physical units, every fourth frame."""
        assert isinstance(network, Autoencoder)
        rows = spread(self._dataset.splits.val, VALIDATED)
        frames = np.arange(0, self._dataset.frames, 4)
        fields = torch.from_numpy(self._dataset.read(rows, frames)).to(self._context.device)
        return {"score": score(reconstruct(network.encoder, network.decoder, self._dataset, fields), fields).nrmse}

    @torch.no_grad()
    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The averaged pair, its latent standardised per channel with training statistics."""
        assert isinstance(averaged, Autoencoder)
        encoder, decoder = averaged.encoder, averaged.decoder
        rows, moments = spread(self._rows, STANDARDISED_BY), []
        for row in rows:
            z = encoder(self._normalised(self._dataset.read(np.array([row]))[0])).double()  # (T, tokens, dim)
            moments.append(torch.stack([z.mean((0, 1)), z.square().mean((0, 1))]))
        mean, square = torch.stack(moments).mean(0)
        std = (square - mean**2).clamp_min(0).sqrt()
        std = std.clamp_min(SMALLEST_SPREAD * float(std.max()))
        for part in (encoder, decoder):
            part.mean.copy_(mean)
            part.std.copy_(std)
        return {"encoder": encoder, "decoder": decoder}

    def _normalised(self, fields: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Tensor:
        return self._dataset.normalisation.apply(torch.from_numpy(fields).to(self._context.device))


STAGE = Stage(
    name="autoencoder",
    needs=(),
    writes=("encoder", "decoder"),
    make=AutoencoderTask,
    settings=lambda context: context.settings.stages.autoencoder,
)
