"""Stage `steady_prior`: from an encoded input straight to the last frame of its trajectory, the long-time limit.

Any frame serves as the input while training; the time that is left is part of the condition.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ups_engine.data.member import Member
from ups_engine.data.splits import SplitName
from ups_engine.evaluation.metrics import score
from ups_engine.latents.pairs import PairIndex
from ups_engine.losses.terms import LossBundle, Prediction, prediction_loss
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.stages.base import StageTask, TrainingStage
from ups_engine.stages.context import StageContext
from ups_engine.stages.memory import Probe
from ups_engine.stages.objective import Objective, needs
from ups_engine.training.task import Batch, Inputs


class SteadyPriorTask(StageTask):
    """Prediction of the last latent."""

    network: LatentOperator

    def __init__(self, context: StageContext) -> None:
        self._members = context.collection.members
        self._encoder = context.results.frozen("encoder", GridEncoder)
        self._decoder = context.results.frozen("decoder", GridDecoder)
        self.network = context.results.fresh("steady_prior", LatentOperator)
        self._latents = tuple(context.caches.reader(member.name, "train") for member in self._members)
        self._index = tuple(PairIndex(member.splits.train, member.frames, 1) for member in self._members)
        self._cond = tuple(
            torch.from_numpy(member.parameters(member.splits.train)).to(context.device) for member in self._members
        )
        self._objective = Objective(context.settings.training, context.device, inverse=False)
        self.samples = tuple(len(index) for index in self._index)

    def prepare(self, batch: Batch) -> Inputs:
        """Latents of pair numbers, each a trajectory and a frame before its last."""
        member, latents = self._members[batch.member], self._latents[batch.member]
        rows, frames = self._index[batch.member].positions(batch.numbers)
        last = member.frames - 1
        terms, weights = self._objective.at(batch.moment)
        z0 = latents.gather(rows, frames, 0)
        mean, std = member.normalisation.tensors(z0)
        tensors = {
            "z0": z0[:, 0],
            "limit": latents.gather(rows, torch.full_like(batch.numbers, last), 0)[:, 0],
            "cond": self._cond[batch.member][rows],
            "dt": (last - frames) * member.dt,
            "weights": weights,
            "mean": mean,
            "std": std,
        }
        return Inputs(tensors, batch.noise, terms)

    def loss(self, inputs: Inputs) -> LossBundle:
        """Of the predicted limit."""
        terms, limit = inputs.form, inputs["limit"]
        assert isinstance(terms, tuple)
        predicted = self.network(inputs["z0"], inputs["cond"], inputs["dt"])
        decoded = (self._decoder(predicted)[:, None], self._decoder(limit)[:, None]) if needs(terms) else None
        prediction = Prediction(
            latents=(predicted[:, None], limit[:, None]),
            decoded=decoded,
            physical=lambda u: u * inputs["std"] + inputs["mean"],
        )
        return prediction_loss(prediction, dict(zip(terms, inputs["weights"], strict=True)))

    def describe(self, member: int, numbers: Tensor) -> str:
        """See `Task.describe`."""
        return self._index[member].describe(numbers)

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """nRMSE of the last frame from the first, in physical units, mean over members."""
        assert isinstance(network, LatentOperator)
        errors = [steady_errors(network, self._encoder, self._decoder, member, "val")[0] for member in self._members]
        return {"score": float(np.mean(errors))}

    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The averaged prior."""
        return {"steady_prior": averaged}


@torch.no_grad()
def steady_errors(
    prior: LatentOperator, encoder: GridEncoder, decoder: GridDecoder, member: Member, split: SplitName
) -> tuple[float, float]:
    """nRMSE of the last frame predicted from the first, and that of the first frame taken for the last."""
    device, grid = encoder.mean.device, member.discretisation
    rows = member.splits.of(split)
    ends = torch.from_numpy(member.read(rows, np.array([0, member.frames - 1]))).to(device)  # (n, 2, *space, C)
    cond = torch.from_numpy(member.parameters(rows)).to(device)
    span = torch.full((len(rows),), member.dt * (member.frames - 1), device=device)
    z = prior(encoder(member.normalisation.apply(ends[:, 0])), cond, span)
    predicted = member.normalisation.invert(decoder(z))[:, None]
    return score(predicted, ends[:, 1:], grid).nrmse, score(ends[:, :1], ends[:, 1:], grid).nrmse


def memory(probe: Probe) -> int:
    """See `TrainingStage.memory`."""
    prior, decoder, encoder = (probe.network(name) for name in ("steady_prior", "decoder", "encoder"))
    z, cond, dt = probe.batch(probe.settings.stages.steady_prior.batch_size)

    def step() -> tuple[Tensor, ...]:
        fields = decoder(prior(z, cond, dt))
        return tuple(fields.square() for _ in range(3))

    maps = len(z) * probe.settings.models.steady_prior.heads
    return probe.total(prior, (decoder, encoder), probe.kept((prior, decoder), maps, step))


STAGE = TrainingStage(
    name="steady_prior",
    needs=("encoder", "decoder"),
    writes=("steady_prior",),
    make=SteadyPriorTask,
    memory=memory,
)
