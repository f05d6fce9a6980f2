"""Stage `steady_prior`: from an encoded input straight to the last frame of its trajectory, the long-time limit.

Any frame serves as the input while training; the time that is left is part of the condition.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ups_engine.data.member import Member
from ups_engine.data.pairs import PairIndex
from ups_engine.data.splits import SplitName
from ups_engine.evaluation.metrics import score
from ups_engine.losses import LossBundle, compute_operator_loss_bundle
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.stages.base import Stage, StageTask
from ups_engine.stages.context import StageContext
from ups_engine.stages.operator import loss_weights, physical
from ups_engine.training.task import Draw


class SteadyPriorTask(StageTask):
    """Prediction of the last latent."""

    network: LatentOperator

    def __init__(self, context: StageContext) -> None:
        self._context, self._dataset = context, context.dataset
        self._encoder = context.frozen("encoder", GridEncoder)
        self._decoder = context.frozen("decoder", GridDecoder)
        self.network = context.fresh("steady_prior", LatentOperator)
        self._latents = context.latents("train")
        rows = self._dataset.splits.train
        self._index = PairIndex(rows, self._dataset.frames, 1)
        self._cond = torch.from_numpy(self._dataset.parameters(rows)).to(context.device)
        self.samples = len(self._index)

    def loss(self, batch: Tensor, draw: Draw) -> LossBundle:
        """Of pair numbers, each a trajectory and a frame before its last."""
        rows, frames = self._index.positions(batch)
        last = self._dataset.frames - 1
        z0 = self._latents.gather(rows, frames, 0)[:, 0]
        limit = self._latents.gather(rows, torch.full_like(batch, last), 0)[:, 0]
        predicted = self.network(z0, self._cond[rows], (last - frames) * self._dataset.dt)
        weights = loss_weights(self._context.settings, draw)
        fields = (self._decoder(predicted), self._decoder(limit)) if weights.relative or weights.decoded else None
        return compute_operator_loss_bundle(
            forward=(predicted, limit),
            spectral=(predicted, limit),
            relative=physical(fields, self._dataset.normalisation),
            decoded=fields,
            weights=weights,
        )

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """nRMSE of the last frame from the first, in physical units."""
        assert isinstance(network, LatentOperator)
        error, _ = steady_errors(network, self._encoder, self._decoder, self._dataset, "val")
        return {"score": error}

    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The averaged prior."""
        return {"steady_prior": averaged}


@torch.no_grad()
def steady_errors(
    prior: LatentOperator, encoder: GridEncoder, decoder: GridDecoder, dataset: Member, split: SplitName
) -> tuple[float, float]:
    """nRMSE of the last frame predicted from the first, and that of the first frame taken for the last."""
    device = encoder.mean.device
    rows = dataset.splits.of(split)
    ends = torch.from_numpy(dataset.read(rows, np.array([0, dataset.frames - 1]))).to(device)  # (n, 2, *space, C)
    cond = torch.from_numpy(dataset.parameters(rows)).to(device)
    span = torch.full((len(rows),), dataset.dt * (dataset.frames - 1), device=device)
    z = prior(encoder(dataset.normalisation.apply(ends[:, 0])), cond, span)
    predicted = dataset.normalisation.invert(decoder(z))[:, None]
    return score(predicted, ends[:, 1:]).nrmse, score(ends[:, :1], ends[:, 1:]).nrmse


STAGE = Stage(
    name="steady_prior",
    needs=("encoder", "decoder"),
    writes=("steady_prior",),
    make=SteadyPriorTask,
    settings=lambda context: context.settings.stages.steady_prior,
)
