"""The loop's state as tensors and JSON, for an exact resume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class LoopState:
    """Where a stage is. All of it is plain JSON.

    Attributes:
        epoch: under way, from 0.
        step: optimiser steps done in this epoch.
        total_step: optimiser steps done in the stage.
        best: best validation score so far.
        best_metrics: all measures of that validation.
        best_epoch: the epoch they belong to.
        since_best: epochs without a better score, as of the latest validation.
        loss_sum: sum over this epoch's steps of the finite losses, in double precision.
        loss_count: number of them.
        in_a_row: non-finite steps in a row.
        seconds: time spent in the stage so far.
        epoch_began: what `seconds` was when the epoch began.
    """

    epoch: int = 0
    step: int = 0
    total_step: int = 0
    best: float | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    since_best: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    in_a_row: int = 0
    seconds: float = 0.0
    epoch_began: float = 0.0

    def mean_loss(self) -> float:
        """Mean loss of the epoch so far."""
        return self.loss_sum / self.loss_count if self.loss_count else float("nan")


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments as named tensors `<parameter>.<moment>`."""
    state = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, moments in state.items() for name, value in moments.items()}


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `pack_optimiser` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix and a slash before every name."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `prefixed` put under a prefix, by their own names."""
    start = f"{prefix}/"
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


def clone(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Copies that later training does not touch."""
    return {name: value.detach().clone() for name, value in tensors.items()}
