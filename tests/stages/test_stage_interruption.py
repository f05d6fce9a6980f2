"""Every real stage, interrupted at several steps, leaves the results of an uninterrupted one to the last bit."""

import pytest
import torch
from lab import STAGES

from ups_engine.training.control import Action

FEW = ("stages.autoencoder.frames_per_trajectory=3", "stages.consistency_distill.epochs=2")


def results(trainer, task):
    named = task.results(trainer.network, trainer.averaged.module)
    return {f"{name}.{key}": value for name, part in named.items() for key, value in part.state_dict().items()}


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_stage_ends_with_the_same_bits(lab, tmp_path, stage):
    # a latent as large as the field is worth a single epoch
    few = (*FEW, "latent.dim=6") if stage == "autoencoder" else FEW
    trainer, end, task = lab.train(stage, tmp_path / "whole", *few)
    expected, steps = results(trainer, task), end.at.total_step
    per_epoch = steps // 2
    assert end.action is Action.GO_ON and per_epoch >= 3
    # in all after no step, one and an epoch; in the middle of both epochs and before the last step
    for number, leaving in enumerate([(0, 1, per_epoch - 1), (2, per_epoch, steps - 3 - per_epoch)]):
        store = tmp_path / str(number)
        for after in leaving:
            _, left, _ = lab.train(stage, store, *few, leave_after=after)
            assert left.action is Action.LEAVE
        assert left.at.total_step == sum(leaving)
        trainer, resumed, task = lab.train(stage, store, *few)
        found = results(trainer, task)
        assert found.keys() == expected.keys()
        differing = [name for name in expected if not torch.equal(found[name], expected[name])]
        assert not differing
        assert (resumed.at.best, resumed.at.total_step) == (end.at.best, steps)
