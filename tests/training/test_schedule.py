"""The learning rate over a stage, figure by figure."""

import json
import math

import pytest
import torch
from torch import nn

from ups_engine.config.training import OptimizerSettings, SchedulerSettings
from ups_engine.training.optimiser import build_optimiser
from ups_engine.training.schedule import LearningRate


def optimiser(lr=1.0, **options):
    settings = OptimizerSettings(name="adamw", lr=lr, weight_decay=0.1, betas=(0.9, 0.999), momentum=0.9)
    return build_optimiser(settings, nn.Linear(2, 2).parameters(), **options)


def scheduler(name, epochs=4.0, steps_per_epoch=10, target=None, **changes):
    values = {"warmup_epochs": 0.0, "eta_min": 0.0, "step_size": 1, "gamma": 0.5, "factor": 0.5, "patience": 1}
    settings = SchedulerSettings(name=name, **{**values, **changes})
    return LearningRate(settings, optimiser() if target is None else target, epochs, steps_per_epoch)


def rates(schedule, steps):
    values = []
    for step in steps:
        schedule.step(step)
        values.append(schedule.current)
    return values


def test_constant_stays():
    assert rates(scheduler("constant"), [0, 5, 39, 1000]) == [1.0] * 4


def test_warm_up_rises_linearly_before_every_schedule():
    for name in ("constant", "cosineannealinglr", "steplr", "reducelronplateau"):
        assert rates(scheduler(name, warmup_epochs=0.5), range(5)) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_cosine_falls_from_the_end_of_warm_up_to_the_end_of_the_stage():
    schedule = scheduler("cosineannealinglr", warmup_epochs=1.0, eta_min=0.1)
    assert rates(schedule, [9, 10, 25, 40, 50]) == pytest.approx([1.0, 1.0, 0.55, 0.1, 0.1])


def test_cosine_ends_at_t_max_and_stays_there():
    assert rates(scheduler("cosineannealinglr", t_max=2), [10, 20, 35]) == pytest.approx([0.5, 0.0, 0.0], abs=1e-12)


def test_cosine_equals_pytorchs_at_every_epoch():
    parameter = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(parameter, T_max=8, eta_min=0.05)
    expected = []
    for _ in range(8):
        expected.append(theirs.get_last_lr()[0])
        parameter.step()
        theirs.step()
    ours = scheduler("cosineannealinglr", epochs=8, steps_per_epoch=1, eta_min=0.05)
    assert rates(ours, range(8)) == pytest.approx(expected)


def test_step_decay_halves_every_so_many_epochs():
    assert rates(scheduler("steplr", step_size=2), [0, 19, 20, 39, 40]) == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_plateau_waits_its_patience_and_then_reduces():
    schedule = scheduler("reducelronplateau", patience=1)
    seen = []
    for epoch, score in enumerate([1.0, 0.5, 0.5, 0.49999, math.nan, math.inf, 0.4, 0.4]):
        seen += rates(schedule, [10 * epoch])
        schedule.epoch_end(score)
    assert seen == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_plateau_agrees_with_pytorchs():
    scores = [3.0, 2.0, 2.5, 2.4, 2.3, 1.0, 1.0, 1.0, 1.0, 1.0]
    target = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(target, factor=0.5, patience=1)
    ours = scheduler("reducelronplateau", patience=1)
    for epoch, score in enumerate(scores):
        theirs.step(score)
        ours.epoch_end(score)
        assert rates(ours, [epoch]) == [target.param_groups[0]["lr"]]


@pytest.mark.parametrize("interval", [1, 2, 5, 10])
def test_plateau_patience_is_in_epochs_at_any_validation_interval(interval):
    """Scores improve at every validation of the first 40 epochs, then never again."""
    schedule, reduced = scheduler("reducelronplateau", patience=19), []
    for epoch in range(100):
        before = schedule.state_dict()["reduction"]
        validated = (epoch + 1) % interval == 0
        schedule.epoch_end(1.0 / min(epoch + 1, 40) if validated else None)
        if schedule.state_dict()["reduction"] != before:
            reduced.append(epoch + 1)
    assert reduced == [60, 80, 100]


def test_a_resumed_plateau_goes_on_as_if_nothing_had_happened():
    first = scheduler("reducelronplateau", patience=1)
    for epoch, score in enumerate([1.0, 1.0, 1.0, 0.9, 0.9]):
        first.step(epoch)
        first.epoch_end(score)
    stored = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = scheduler("reducelronplateau", patience=1)
    second.load_state_dict(stored)
    for schedule in (first, second):
        schedule.epoch_end(0.9)
    assert rates(first, [60]) == rates(second, [60]) == [0.25]
    fresh = scheduler("reducelronplateau").state_dict()
    scheduler("reducelronplateau").load_state_dict(json.loads(json.dumps(fresh, allow_nan=False)))


def test_the_peak_survives_loading_the_optimisers_state_first():
    target = optimiser()
    rates(scheduler("cosineannealinglr", target=target), [39])
    loaded = optimiser()
    loaded.load_state_dict(target.state_dict())
    assert rates(scheduler("cosineannealinglr", target=loaded), [0]) == [1.0]


def test_all_groups_of_the_optimiser_follow():
    target = optimiser()
    rates(scheduler("steplr", target=target), [10])
    assert [group["lr"] for group in target.param_groups] == [0.5, 0.5]
