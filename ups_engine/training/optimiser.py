"""The optimiser of a stage, from its settings."""

from collections.abc import Iterable

import torch
from torch import nn

from ups_engine.config.training import OptimizerSettings


def build_optimiser(settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Build Adam, AdamW or SGD with momentum; one fused kernel per step where there is one.

    Weight decay pulls at matrices and convolutions only: parameters with one axis or none (biases, norms' gains,
    scales) are left alone. AdamW decays the weights themselves, Adam and SGD add the decay to the gradient.

    Args:
        settings: which optimiser, and its parameters; all of them are honoured.
        parameters: to train; those that need no gradient are left out.

    Raises:
        ValueError: when there is nothing to train.
    """
    trained = [p for p in parameters if p.requires_grad]
    if not trained:
        raise ValueError("no parameter needs a gradient")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.name == "sgd":
        optimiser = torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=True)
        if settings.momentum:  # PyTorch would leave them uninitialised if the guard skipped the very first step
            for parameter in trained:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimiser
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.lr, betas=settings.betas, fused=True)
