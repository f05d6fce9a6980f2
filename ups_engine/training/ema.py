"""The moving average of a network's weights."""

import copy
from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


class EMA(Generic[Module]):
    """A frozen copy of a network that follows it: p_ema = d * p_ema + (1 - d) * p.

    At update n, counted from 0, d = min(decay, (1 + n) / (10 + n)), so that the copy leaves the initial weights behind
    within a dozen steps. Floating-point buffers are averaged like parameters, others are copied. The
    count is a tensor beside the weights and an update is a handful of foreach launches without a host-device copy,
    so it can be part of a captured CUDA graph.

    Args:
        module: the network in training, uncompiled; its parameters must stay the same tensors.
        decay: in [0, 1).
    """

    def __init__(self, module: Module, decay: float) -> None:
        self.module: Module = copy.deepcopy(module).requires_grad_(False).eval()
        """The averaged network."""
        self._decay = decay
        ours, theirs = (list(m.parameters()) + list(m.buffers()) for m in (self.module, module))
        pairs = list(zip(ours, theirs, strict=True))
        self._averaged = [(a.data, b.data) for a, b in pairs if a.is_floating_point()]
        self._copied = [(a.data, b.data) for a, b in pairs if not a.is_floating_point()]
        self._updates = torch.zeros((), device=ours[0].device if ours else None)

    @torch.no_grad()
    def update(self, taken: Tensor | None = None) -> None:
        """Follow the network by one step.

        Args:
            taken: scalar on the device, 0 where the optimiser skipped the step, so that this is none either; None is 1.
        """
        weight = torch.clamp_min(9.0 / (10.0 + self._updates), 1.0 - self._decay)  # 1 - d
        if taken is not None:
            weight = weight * taken
        if self._averaged:
            ours = [a for a, _ in self._averaged]
            change = torch._foreach_sub([b for _, b in self._averaged], ours)
            torch._foreach_mul_(change, weight)
            torch._foreach_add_(ours, change)
        for a, b in self._copied:
            a.copy_(b)
        self._updates += 1 if taken is None else taken

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights by their names in the network, and `updates`."""
        return {**{f"module.{k}": v for k, v in self.module.state_dict().items()}, "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave; tensors are written in place.

        Raises:
            RuntimeError: when the weights are those of another network.
            KeyError: when `updates` is missing.
        """
        weights = {k.removeprefix("module."): v for k, v in state.items() if k.startswith("module.")}
        self.module.load_state_dict(weights)
        self._updates.copy_(state["updates"])
