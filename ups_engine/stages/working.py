"""How much GPU memory the stages that read latents will want beside them, found out by a probe step without a GPU.

A forward pass of a stage's networks is taken on tensors that have shapes and no numbers, at the stage's own batch
size and horizon, and what autograd keeps of it for the backward pass is added up. So a check on a login node, the
preflight and the training itself come to the same figure before any memory is taken. On an H200, operators from 0.2 to
30 M parameters in one and two dimensions took between 2.2 and 24 GiB of the device; foreseen was 3 to 48 % more.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from ups_engine.config.schema import Settings
from ups_engine.models.diffusion import Context, ResidualModel
from ups_engine.stages.networks import NetworkPlan, build, max_horizon

_FLOAT = 4
_COPIES = 8
"""Of the trained numbers: weights, gradients, two moments, moving average, weights and average of the best epoch, and
one more while the optimiser works on all of them at once."""
_SLACK = 1.5
"""Over what autograd keeps: gradients on the way back, work space, and what the allocator cannot fit together."""
_FIELDS = 6
"""Copies of a batch of whole trajectories that a validation holds: truth, prediction, error and their spectra."""
_FIXED = 768 << 20
"""What a CUDA context and its libraries take."""


@dataclass(frozen=True)
class Working:
    """Memory of the stage that wants the most.

    Attributes:
        bytes: beside the latents.
        stage: its name; empty where no stage reads latents.
    """

    bytes: int
    stage: str


def working_memory(settings: Settings, plan: NetworkPlan) -> Working:
    """The most memory that a stage takes beside the latents, on a GPU.

    Args:
        settings: of the run; stages with `epochs = 0` do not count.
        plan: what the networks' shapes follow from.
    """
    probes = {
        "operator": _operator,
        "diff_residual": _residual,
        "consistency_distill": _residual,
        "steady_prior": _prior,
    }
    wants = [
        Working(_FIXED + probe(name, settings, plan), name)
        for name, probe in probes.items()
        if getattr(settings.stages, name).epochs
    ]
    return max(wants, key=lambda want: want.bytes, default=Working(_FIXED, ""))


def _operator(name: str, settings: Settings, plan: NetworkPlan) -> int:
    operator, decoder, encoder = (_network(part, settings, plan) for part in ("operator", "decoder", "encoder"))
    z, cond, dt = _batch(settings.stages.operator.batch_size, settings, plan)
    kept = _Kept((operator, decoder, encoder), len(z) * settings.models.operator.heads, plan)
    with kept.hooks:
        for _ in range(max_horizon(settings)):
            fields = decoder(operator(z, cond, dt))
            kept.also(*(fields.square() for _ in range(3)))  # the terms of the loss keep differences of fields
            z = encoder(fields)
    return _total(operator, (decoder, encoder), kept.bytes, settings, plan)


def _residual(name: str, settings: Settings, plan: NetworkPlan) -> int:
    frozen = tuple(_network(part, settings, plan) for part in ("encoder", "decoder", "operator"))
    part = "diffusion_residual" if name == "diff_residual" else "consistency"
    network = _network(part, settings, plan)
    assert isinstance(network, ResidualModel)
    stage = getattr(settings.stages, name)
    size = min(stage.batch_size, getattr(stage, "distill_micro_batch", None) or stage.batch_size)
    z, cond, dt = _batch(size, settings, plan)
    kept = _Kept((network,), size * settings.models.diffusion.heads, plan)
    with kept.hooks:
        kept.also(network.raw(z, dt, Context(z, z, cond, dt)))
    decoded = size * prod(plan.grid.shape) * plan.channels * _FLOAT
    teachers = 2 * _bytes(network) if name == "consistency_distill" else 0  # the teacher and the target network
    return _total(network, frozen, kept.bytes + decoded, settings, plan) + teachers


def _prior(name: str, settings: Settings, plan: NetworkPlan) -> int:
    prior, decoder, encoder = (_network(part, settings, plan) for part in ("steady_prior", "decoder", "encoder"))
    z, cond, dt = _batch(settings.stages.steady_prior.batch_size, settings, plan)
    kept = _Kept((prior, decoder), len(z) * settings.models.steady_prior.heads, plan)
    with kept.hooks:
        fields = decoder(prior(z, cond, dt))
        kept.also(*(fields.square() for _ in range(3)))
    return _total(prior, (decoder, encoder), kept.bytes, settings, plan)


class _Kept:
    """Adds up what autograd keeps for the backward pass, each tensor's memory once and no weights.

    Args:
        networks: whose weights do not count.
        maps: attention maps of a layer: samples times heads. They do not count, as GPUs compute them piece by piece.
    """

    def __init__(self, networks: tuple[nn.Module, ...], maps: int, plan: NetworkPlan) -> None:
        self._map, self._maps = (plan.grid.count, plan.grid.count), maps * plan.grid.count**2
        held = [t for network in networks for t in (*network.parameters(), *network.buffers())]
        self._seen = {t.untyped_storage()._cdata for t in held}
        self._alive: list[Tensor] = []  # else another tensor might get a counted one's address
        self.bytes = 0
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def also(self, *tensors: Tensor) -> None:
        """Count tensors that the loss keeps."""
        for tensor in tensors:
            self._pack(tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        attention = tuple(tensor.shape[-2:]) == self._map and tensor.numel() == self._maps
        if storage._cdata not in self._seen and not attention:
            self._seen.add(storage._cdata)
            self._alive.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


def _network(name: str, settings: Settings, plan: NetworkPlan) -> nn.Module:
    with torch.device("meta"):
        return build(name, settings, plan)


def _batch(size: int, settings: Settings, plan: NetworkPlan) -> tuple[Tensor, Tensor, Tensor]:
    z = torch.empty(size, plan.grid.count, settings.latent.dim, device="meta")
    return z, torch.empty(size, plan.parameters, device="meta"), torch.empty(size, device="meta")


def _bytes(*networks: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for network in networks for t in network.state_dict().values())


def _total(trained: nn.Module, frozen: tuple[nn.Module, ...], kept: int, settings: Settings, plan: NetworkPlan) -> int:
    """Of training, or of validating a batch of whole trajectories, whichever is more, with the networks."""
    points = prod(plan.grid.shape)
    validating = _FIELDS * _FLOAT * settings.stages.evaluation.batch_size * plan.frames * points * plan.channels
    return _COPIES * _bytes(trained) + _bytes(*frozen) + int(_SLACK * max(kept, validating))
