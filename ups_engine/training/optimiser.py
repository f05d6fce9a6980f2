"""The optimiser of a stage, from its settings."""

from collections.abc import Iterable

import torch
from torch import nn

from ups_engine.config.training import OptimizerSettings


def build_optimiser(
    settings: OptimizerSettings, parameters: Iterable[nn.Parameter], *, capturable: bool = False
) -> torch.optim.Optimizer:
    """Build Adam, AdamW or SGD with momentum; one fused kernel per step where there is one.

    Weight decay pulls at matrices and convolutions only: parameters with one axis or none (biases, norms' gains,
    scales) are left alone. AdamW decays the weights themselves, Adam and SGD add the decay to the gradient.

    Args:
        settings: which optimiser, and its parameters; all of them are honoured.
        parameters: to train; those that need no gradient are left out.
        capturable: make a step that a CUDA graph can hold: the learning rate becomes a tensor on the device, and
            `LearningRate` then writes into it.

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
    device = trained[0].device
    rate = torch.tensor(settings.lr, device=device) if capturable else settings.lr
    if settings.name == "sgd":
        optimiser = torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, fused=True)
        if settings.momentum:  # PyTorch would leave them uninitialised if the guard skipped the very first step
            for parameter in trained:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimiser
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, betas=settings.betas, fused=True, capturable=capturable)
