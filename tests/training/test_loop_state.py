"""The loop's state as tensors and JSON comes back as it went."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from ups_engine.config.training import OptimizerSettings
from ups_engine.training.optimiser import build_optimiser
from ups_engine.training.state import LoopState, clone, pack_optimiser, prefixed, under, unpack_optimiser


def stepped(name, momentum, steps):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    values = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.99), "momentum": momentum}
    optimiser = build_optimiser(OptimizerSettings(name=name, **values), model.parameters())
    for _ in range(steps):
        model(torch.ones(1, 3)).square().sum().backward()
        optimiser.step()
    return optimiser


@pytest.mark.parametrize(("name", "momentum"), [("adam", 0.9), ("adamw", 0.9), ("sgd", 0.9), ("sgd", 0.0)])
@pytest.mark.parametrize("steps", [0, 3])
def test_an_optimisers_moments_come_back(name, momentum, steps):
    source, target = stepped(name, momentum, steps), stepped(name, momentum, 1)
    packed = clone(pack_optimiser(source))
    assert all(isinstance(value, torch.Tensor) for value in packed.values())
    assert len(packed) == {"adam": 6, "adamw": 6, "sgd": 2}[name] * bool(momentum) * bool(steps or name == "sgd")
    unpack_optimiser(target, packed)
    back = pack_optimiser(target)
    assert back.keys() == packed.keys()
    assert all(torch.equal(back[key], packed[key]) for key in packed)


def test_the_state_is_plain_json():
    progress = LoopState(epoch=3, best=0.25, best_metrics={"score": 0.25}, best_epoch=2, loss_sum=3.0, loss_count=2)
    assert LoopState(**json.loads(json.dumps(asdict(progress), allow_nan=False))) == progress
    assert progress.mean_loss() == 1.5
    assert LoopState().mean_loss() != LoopState().mean_loss()  # nan: there is none


def test_prefixes_keep_tensors_apart():
    tensors = {"a": torch.zeros(1), "a/b": torch.ones(1)}
    both = {**prefixed("now", tensors), **prefixed("nowhere", tensors)}
    assert under("now", both) == tensors
    assert under("no", both) == {}


def test_a_clone_is_left_alone():
    weight = torch.zeros(2)
    kept = clone({"w": weight})
    weight += 1
    assert kept["w"].tolist() == [0, 0]
