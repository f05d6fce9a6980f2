"""How much GPU memory the stages that read latents will want beside them, found out by a probe step without a GPU.

A forward pass of a stage's networks is taken on tensors that have shapes and no numbers, at the stage's own batch
size and horizon, and what autograd keeps of it for the backward pass is added up. So a check on a login node, the
preflight and the training itself come to the same figure before any memory is taken. On an H200, operators from 0.2 to
30 M parameters in one and two dimensions took between 2.2 and 24 GiB of the device; forecast was 3 to 48 % more.
"""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from ups_engine.config.schema import Settings
from ups_engine.stages.networks import NetworkPlan, build

FIXED = 768 << 20
"""What a CUDA context and its libraries take."""
_FLOAT = 4
_COPIES = 8
"""Of the trained numbers: weights, gradients, two moments, moving average, weights and average of the best epoch, and
one more while the optimiser works on all of them at once."""
_SLACK = 1.5
"""Over what autograd keeps: gradients on the way back, work space, and what the allocator cannot fit together."""
_FIELDS = 6
"""Copies of a batch of whole trajectories that a validation holds: truth, prediction, error and their spectra."""


class Probe:
    """A step without numbers.

    Args:
        settings: of the run.
        plan: what the networks' shapes follow from.
    """

    def __init__(self, settings: Settings, plan: NetworkPlan) -> None:
        self.settings, self.plan = settings, plan

    def network(self, result: str) -> nn.Module:
        """A network without numbers."""
        with torch.device("meta"):
            return build(result, self.settings, self.plan)

    def batch(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (size, tokens, dim), conditions (size, P) and time steps (size,)."""
        plan, dim = self.plan, self.settings.latent.dim
        z = torch.empty(size, plan.grid.count, dim, device="meta")
        return z, torch.empty(size, plan.parameters, device="meta"), torch.empty(size, device="meta")

    def kept(self, networks: tuple[nn.Module, ...], maps: int, step: Callable[[], tuple[Tensor, ...]]) -> int:
        """Bytes that autograd keeps of a step, each tensor's memory once and no weights.

        Args:
            networks: whose weights do not count.
            maps: attention maps of a layer: samples times heads. They do not count, as GPUs compute them piece by
                piece.
            step: the forward pass; gives the tensors that the loss keeps beside.
        """
        tokens = self.plan.grid.count
        counter = _Counter(networks, (tokens, tokens), maps * tokens**2)
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda tensor: tensor):
            for tensor in step():
                counter.pack(tensor)
        return counter.bytes

    def decoded_bytes(self, size: int) -> int:
        """Bytes of so many decoded frames."""
        return size * prod(self.plan.grid.shape) * self.plan.channels * _FLOAT

    def total(self, trained: nn.Module, frozen: tuple[nn.Module, ...], kept: int) -> int:
        """Bytes of training, or of validating a batch of whole trajectories, whichever is more, with the networks."""
        validating = _FIELDS * self.decoded_bytes(self.settings.stages.evaluation.batch_size * self.plan.frames)
        return _COPIES * weight_bytes(trained) + weight_bytes(*frozen) + int(_SLACK * max(kept, validating))


class _Counter:
    """Adds up the memory of tensors that are kept."""

    def __init__(self, networks: tuple[nn.Module, ...], attention: tuple[int, int], numbers: int) -> None:
        self._attention, self._numbers = attention, numbers
        held = [t for network in networks for t in (*network.parameters(), *network.buffers())]
        self._seen = {t.untyped_storage()._cdata for t in held}
        self._alive: list[Tensor] = []  # else another tensor might get a counted one's address
        self.bytes = 0

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        attention = tuple(tensor.shape[-2:]) == self._attention and tensor.numel() == self._numbers
        if storage._cdata not in self._seen and not attention:
            self._seen.add(storage._cdata)
            self._alive.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


def weight_bytes(*networks: nn.Module) -> int:
    """Bytes of networks' weights and buffers."""
    return sum(t.numel() * t.element_size() for network in networks for t in network.state_dict().values())
