"""Noise of a step is a pure function of where the stage is."""

from dataclasses import replace

import pytest
import torch

from ups_engine.training.task import Draw

HERE = Draw(0, "operator", 3, 7, 37, 0.5, 0, torch.device("cpu"))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_draws_repeat_and_depend_on_seed_stage_epoch_step_and_purpose(kind):
    def drawn(at, purpose="tau"):
        return getattr(at, kind)(purpose, (4, 5))

    assert torch.equal(drawn(HERE), drawn(HERE))
    others = [{"seed": 1}, {"stage": "other"}, {"epoch": 4}, {"step": 8}]
    results = [drawn(HERE), drawn(HERE, "noise"), *(drawn(replace(HERE, **other)) for other in others)]
    assert len({tuple(result.flatten().tolist()) for result in results}) == len(results)
    assert torch.equal(drawn(replace(HERE, total_step=99, progress=0.9)), drawn(HERE))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("shape", [(), (3,), (5, 7)])
def test_a_later_part_of_a_batch_draws_what_the_whole_batch_would(kind, shape):
    whole = getattr(HERE, kind)("noise", (12, *shape))
    part = getattr(replace(HERE, first=8), kind)("noise", (4, *shape))
    assert torch.equal(part, whole[8:])
