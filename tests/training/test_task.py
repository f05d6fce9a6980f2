"""Noise of a step is a pure function of its keys and of each sample's place."""

import pytest
import torch

from ups_engine.training.randomness import keys
from ups_engine.training.task import Noise

PURPOSES = ("tau", "noise")


def noise(first=0, count=12, **where):
    at = {"seed": 0, "stage": "operator", "epoch": 3, "step": 7, **where}
    steps = range(at["step"], at["step"] + 1)
    drawn = {purpose: keys(at["seed"], at["stage"], at["epoch"], steps, purpose)[0] for purpose in PURPOSES}
    return Noise(drawn, torch.arange(first, first + count))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_draws_repeat_and_depend_on_seed_stage_epoch_step_and_purpose(kind):
    def drawn(at, purpose="tau"):
        return getattr(at, kind)(purpose, (12, 5))

    assert torch.equal(drawn(noise()), drawn(noise()))
    others = [{"seed": 1}, {"stage": "other"}, {"epoch": 4}, {"step": 8}]
    results = [drawn(noise()), drawn(noise(), "noise"), *(drawn(noise(**other)) for other in others)]
    assert len({tuple(result.flatten().tolist()) for result in results}) == len(results)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("shape", [(), (3,), (5, 7)])
def test_a_later_part_of_a_batch_draws_what_the_whole_batch_would(kind, shape):
    whole = getattr(noise(), kind)("noise", (12, *shape))
    part = getattr(noise(first=8, count=4), kind)("noise", (4, *shape))
    assert torch.equal(part, whole[8:])
