"""Stage `steady_prior`: from an encoded input straight to the last frame of its trajectory, the long-time limit.

Any frame serves as the input while training; the time that is left is part of the condition.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ups_engine.data.member import Member
from ups_engine.data.splits import SplitName
from ups_engine.evaluation.metrics import Scores, score
from ups_engine.losses.terms import LossBundle, Prediction, prediction_loss
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.stages.base import PairTask, TrainingStage
from ups_engine.stages.context import StageContext
from ups_engine.stages.memory import Probe
from ups_engine.stages.objective import Objective, needs
from ups_engine.training.task import Batch, Inputs


class SteadyPriorTask(PairTask):
    """Prediction of the last latent."""

    network: LatentOperator

    def __init__(self, context: StageContext) -> None:
        super().__init__(context, 1)
        self.network = context.results.fresh("steady_prior", LatentOperator)
        self._latents = tuple(context.caches.reader(member.name, "train") for member in self._members)
        self._objective = Objective(context.settings.training, context.device, inverse=False)

    def prepare(self, batch: Batch) -> Inputs:
        """Latents of frames before the last, each with that of the last frame of its trajectory."""
        terms, weights = self._objective.at(batch.moment)
        member, pairs = self._members[batch.member], self._pairs[batch.member].take(batch.first, len(batch))
        last = torch.full_like(pairs.frames, member.frames - 1)
        limit = self._latents[batch.member].gather(pairs.rows, last, 0)[:, 0]
        tensors = {"z0": pairs.z0, "limit": limit, "cond": pairs.cond, "dt": (last - pairs.frames) * member.dt}
        tensors["weights"] = weights
        return Inputs(tensors, batch.noise, terms)

    def loss(self, inputs: Inputs) -> LossBundle:
        """Of the predicted limit."""
        terms, limit = inputs.form, inputs["limit"]
        assert isinstance(terms, tuple)
        predicted = self.network(inputs["z0"], inputs["cond"], inputs["dt"])
        decoded = (self._decoder(predicted)[:, None], self._decoder(limit)[:, None]) if needs(terms) else None
        prediction = Prediction(
            latents=(predicted[:, None], limit[:, None]),
            cells=self._encoder.grid.cells,
            decoded=decoded,
        )
        return prediction_loss(prediction, dict(zip(terms, inputs["weights"], strict=True)))

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Relative error of the last frame from the first, mean over members."""
        assert isinstance(network, LatentOperator)
        scores = [steady_scores(network, self._encoder, self._decoder, member, "val")[0] for member in self._members]
        return {"score": float(np.mean([one.relative for one in scores]))}

    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The averaged prior."""
        return {"steady_prior": averaged}


@torch.no_grad()
def steady_scores(
    prior: LatentOperator, encoder: GridEncoder, decoder: GridDecoder, member: Member, split: SplitName
) -> tuple[Scores, Scores]:
    """Scores of the last frame predicted from the first, and those of the first frame taken for the last."""
    device, on = encoder.mean.device, (member.discretisation, member.normalisation)
    rows = member.splits.of(split)
    ends = torch.from_numpy(member.read(rows, np.array([0, member.frames - 1]))).to(device)  # (n, 2, *space, C)
    cond = torch.from_numpy(member.parameters(rows)).to(device)
    span = torch.full((len(rows),), member.dt * (member.frames - 1), device=device)
    z = prior(encoder(member.normalisation.apply(ends[:, 0])), cond, span)
    predicted = member.normalisation.invert(decoder(z))[:, None]
    return score(predicted, ends[:, 1:], *on), score(ends[:, :1], ends[:, 1:], *on)


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
    version=2,
    memory=memory,
)
