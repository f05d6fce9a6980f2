"""The step loop: what a step is made of, when a stage ends, what it keeps."""

import math

import pytest
import torch
from toys import Asked, Events, Regression, furthest, same_bits, settings, trainer, weights

from ups_engine.training.control import Action
from ups_engine.training.randomness import order

PLAIN = ("training.optimizer.name=sgd", "training.optimizer.momentum=0", "training.scheduler.name=constant")


def trained(tmp_path, task, *overrides, **options):
    of = trainer(tmp_path, task, *overrides, **options)
    end = of.run()
    return of, end


def test_a_stage_learns_and_tells_its_epochs(tmp_path):
    events = Events()
    _, end = trained(
        tmp_path, Regression(), "stages.autoencoder.optimizer.lr=0.02", "stages.autoencoder.epochs=30", events=events
    )
    assert (end.action, end.reason, end.at.total_step) == (Action.GO_ON, None, 180)
    epochs = events.of("epoch")
    assert [epoch for _, epoch, _, _ in epochs] == list(range(30))
    assert [step for _, _, step, _ in epochs] == [6 * (epoch + 1) for epoch in range(30)]
    assert epochs[-1][3]["loss"] < 0.5 * epochs[0][3]["loss"]
    named = {"loss", "best", "lr", "grad_norm", "components", "throughput", "since_best", "seconds", "epoch_seconds"}
    assert all(data.keys() == named for *_, data in epochs)
    assert sum(data["epoch_seconds"] for *_, data in epochs) == pytest.approx(epochs[-1][3]["seconds"])


def test_every_epoch_takes_its_samples_in_the_pure_order(tmp_path):
    task = Regression(samples=70)
    trained(tmp_path, task)
    for epoch in range(4):
        seen = [batch for e, _, batch, _ in task.batches if e == epoch]
        assert [len(batch) for batch in seen] == [16] * 4
        assert [number for batch in seen for number in batch] == order(70, seed=0, stage="autoencoder", epoch=epoch)[
            :64
        ].tolist()
    other = Regression(samples=70)
    trained(tmp_path, other, seed=1)
    assert other.batches[0][2] != task.batches[0][2]


def test_two_runs_of_one_seed_agree_to_the_last_bit_and_of_two_seeds_do_not(tmp_path):
    one, two, other = (weights(trained(tmp_path, Regression(noise=0.1), seed=seed)[0]) for seed in (3, 3, 4))
    assert same_bits(one, two)
    assert not same_bits(one, other)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_two_batches_of_32_accumulated_are_one_of_64(tmp_path, noise):
    whole, _ = trained(tmp_path, Regression(128, noise), "training.batch_size=64")
    halves, _ = trained(tmp_path, Regression(128, noise), "training.batch_size=32", "training.accum_steps=2")
    assert 0 < furthest(weights(whole), weights(halves)) < 1e-5


@pytest.mark.parametrize("micro", [1, 7, 16, 64, 1000])
def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path, micro):
    one_step = (*PLAIN, "training.batch_size=64", "training.grad_clip=0", "stages.autoencoder.max_steps=1")
    start = {name: value.clone() for name, value in Regression(64).network.state_dict().items()}
    whole, _ = trained(tmp_path, Regression(64, 0.5), *one_step)
    task, events = Regression(64, 0.5, micro_batch=micro), Events()
    cut, _ = trained(tmp_path, task, *one_step, events=events)
    assert max(len(batch) for _, _, batch, _ in task.batches) == min(micro, 64)
    assert sum(len(batch) for _, _, batch, _ in task.batches) == 64
    for name, before in start.items():
        step = whole.network.state_dict()[name] - before
        assert torch.allclose(cut.network.state_dict()[name] - before, step, rtol=1e-4, atol=1e-8)
    assert events.of("epoch")[0][3]["components"]["L_fit"] == pytest.approx(events.of("epoch")[0][3]["loss"])


def test_fewer_samples_than_a_batch_still_make_a_full_step(tmp_path):
    few = (*PLAIN, "training.grad_clip=0", "stages.autoencoder.epochs=1")
    large, _ = trained(tmp_path, Regression(10), *few, "training.batch_size=64", "training.accum_steps=3")
    exact, _ = trained(tmp_path, Regression(10), *few, "training.batch_size=10")
    assert furthest(weights(large), weights(exact)) < 1e-7


@pytest.mark.parametrize(("clip", "expected"), [(0.01, 0.01), (0.5, 0.5), (0, None)])
def test_the_gradient_clip_is_honoured(tmp_path, clip, expected):
    task, events = Regression(), Events()
    task.y *= 20
    before = torch.cat([p.detach().flatten().clone() for p in task.network.parameters()])
    given = (f"training.grad_clip={clip}", "stages.autoencoder.optimizer.lr=1", "stages.autoencoder.max_steps=1")
    trained(tmp_path, task, *PLAIN, *given, events=events)
    after = torch.cat([p.detach().flatten() for p in task.network.parameters()])
    norm = events.of("epoch")[0][3]["grad_norm"]
    assert norm > 5  # told before clipping
    assert (after - before).norm().item() == pytest.approx(norm if expected is None else expected, rel=1e-4)


def test_max_steps_ends_the_stage_within_an_epoch_and_is_its_length(tmp_path):
    events, task = Events(), Regression()
    given = (
        "stages.autoencoder.max_steps=8",
        "training.scheduler.name=cosineannealinglr",
        "training.log_interval=1e-9",
    )
    _, end = trained(tmp_path, task, *given, events=events)
    assert (end.at.total_step, end.reason) == (8, "8 steps done")
    rates = [data["lr"] / 1e-3 for *_, data in events.of("step")]
    assert rates == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)])
    assert [progress for *_, progress in task.batches] == [step / 8 for step in range(8)]
    assert len(task.validated) == 2


def test_patience_ends_the_stage(tmp_path):
    task = Regression(scores=[3.0, 2.0, 2.5, 2.5, 1.0, 1.0])
    _, end = trained(tmp_path, task, "stages.autoencoder.patience=2", "stages.autoencoder.epochs=6")
    assert end.reason == "no better validation for 2 epochs"
    assert (end.at.epoch, end.at.best, end.at.best_epoch) == (4, 2.0, 1)


def test_a_task_may_end_its_stage_by_the_epochs_loss(tmp_path):
    task, asked = Regression(), []

    def ends_early(loss):
        asked.append(loss)
        return "good enough" if len(asked) == 2 else None

    task.ends_early = ends_early
    events = Events()
    _, end = trained(tmp_path, task, events=events)
    assert (end.reason, end.at.epoch) == ("good enough", 2)
    assert asked == [data["loss"] for *_, data in events.of("epoch")]


def test_the_best_weights_by_validation_are_kept_not_the_last(tmp_path):
    task, events = Regression(scores=[3.0, 1.0, 2.0, 5.0]), Events()
    at_boundaries = []
    control = Asked()
    of = trainer(tmp_path, task, events=events, control=control)
    control.snapshot = lambda: at_boundaries.append(weights(of))
    end = of.run()
    assert same_bits(weights(of), at_boundaries[12])  # before the first step of epoch 2
    assert same_bits(of.averaged.module.state_dict(), task.validated[1])
    assert not same_bits(of.averaged.module.state_dict(), task.validated[3])
    assert (end.at.best, end.at.best_epoch, end.at.best_metrics["other"]) == (1.0, 1, 7.0)
    assert [data["best"] for *_, data in events.of("validation")] == [3.0, 1.0, 1.0, 1.0]
    assert [data["since_best"] for *_, data in events.of("epoch")] == [0, 0, 1, 2]


def test_a_validation_that_is_not_finite_is_never_best(tmp_path):
    _, end = trained(tmp_path, Regression(scores=[math.nan, math.inf, 4.0, math.nan]))
    assert (end.at.best, end.at.best_epoch) == (4.0, 2)
    _, end = trained(tmp_path, Regression(scores=[math.nan] * 4))
    assert end.at.best is None


def test_the_moving_average_is_what_is_validated_and_kept(tmp_path):
    task, decay = Regression(), 0.9
    followed, steps = [], []
    given = (f"training.ema_decay={decay}", "stages.autoencoder.epochs=3", "stages.autoencoder.optimizer.lr=0.01")
    of = trainer(
        tmp_path,
        task,
        *given,
        control=Asked(snapshot=lambda: steps.append(task.network[0].weight.detach().clone())),
    )
    expected = steps  # weights before each step; the average starts at the first of them
    of.run()
    average = expected[0]
    for n, after in enumerate(expected[1:]):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * after
        followed.append(average)
    assert torch.allclose(task.validated[0]["0.weight"], followed[5], atol=1e-6)
    assert torch.allclose(task.validated[1]["0.weight"], followed[11], atol=1e-6)
    assert not torch.allclose(task.validated[1]["0.weight"], expected[12], atol=1e-4)


def test_validation_waits_for_its_interval_and_always_sees_the_last_epoch(tmp_path):
    events = Events()
    trained(tmp_path, Regression(), "training.validation_interval=3", "stages.autoencoder.epochs=5", events=events)
    assert [epoch for _, epoch, _, _ in events.of("validation")] == [2, 4]


def test_a_plateau_does_not_fall_while_every_validation_improves(tmp_path):
    events, given = Events(), ("training.scheduler.name=reducelronplateau", "training.scheduler.patience=2")
    scores = [5.0, 4.0, 3.0, 3.0, 3.0]
    given = (*given, "training.validation_interval=4", "stages.autoencoder.epochs=20", "training.log_interval=1e-9")
    trained(tmp_path, Regression(scores=scores), *given, events=events)
    rates = [data["lr"] / 1e-3 for *_, data in events.of("epoch")]
    assert rates == pytest.approx([1.0] * 16 + [0.5] * 4)
    assert events.of("epoch")[-1][-1]["since_best"] == 8


def test_the_throughput_is_of_training_alone(tmp_path, monkeypatch):
    """96 samples an epoch; by the clock a step takes 1 s, a validation 1000 s, a resumable state 500 s."""
    task, events, clock = Regression(scores=[2.0, 1.0]), Events(), [0.0]
    monkeypatch.setattr("ups_engine.training.loop.time.monotonic", lambda: clock[0])

    def slow(method, seconds):
        def slowed(*arguments):
            clock[0] += seconds
            return method(*arguments)

        return slowed

    task.loss, task.validate = slow(task.loss, 1.0), slow(task.validate, 1000.0)
    given = ("training.log_interval=1", "training.checkpoint_interval=600", "stages.autoencoder.epochs=2")
    of = trainer(tmp_path, task, *given, events=events)
    of._resume.save = slow(of._resume.save, 500.0)
    of.run()
    assert len(events.of("checkpoint")) == 1
    assert [data["throughput"] for *_, data in events.of("step")] == [16.0] * 12


def test_epochs_without_a_better_validation_are_counted_to_a_last_one_that_comes_early(tmp_path):
    events, given = Events(), ("training.validation_interval=4", "stages.autoencoder.epochs=10")
    trained(tmp_path, Regression(scores=[1.0, 2.0, 2.0]), *given, events=events)
    assert events.of("epoch")[-1][-1]["since_best"] == 6


def test_a_stage_asked_to_finish_keeps_its_best_and_one_asked_to_skip_stops_at_once(tmp_path):
    task = Regression(scores=[1.0, 2.0])
    of, end = trained(tmp_path, task, control=Asked({9: Action.FINISH_STAGE}))
    assert (end.action, end.reason, end.at.total_step) == (Action.GO_ON, "asked to finish", 9)
    assert same_bits(of.averaged.module.state_dict(), task.validated[0])
    _, end = trained(tmp_path, Regression(), control=Asked({9: Action.SKIP_STAGE}))
    assert (end.action, end.at.total_step) == (Action.SKIP_STAGE, 9)


def test_reading_the_metrics_often_changes_no_bit(tmp_path):
    often, seldom = Events(), Events()
    one, _ = trained(tmp_path, Regression(noise=0.1), "training.log_interval=1e-9", events=often)
    two, _ = trained(tmp_path, Regression(noise=0.1), events=seldom)
    assert (len(often.of("step")), len(seldom.of("step"))) == (24, 0)
    assert same_bits(weights(one), weights(two))
    told = [[(data["loss"], data["grad_norm"]) for *_, data in events.of("epoch")] for events in (often, seldom)]
    assert told[0] == told[1]


def test_every_stage_setting_of_the_loop_falls_back_to_training(tmp_path):
    stage, training = settings(tmp_path, "training.grad_clip=0.25", "stages.autoencoder.ema_decay=0.5")
    assert (stage.grad_clip, stage.ema_decay, training.ema_decay) == (0.25, 0.5, 0.999)


def test_few_samples_are_gone_through_again_until_an_epoch_has_its_steps(tmp_path):
    task = Regression()
    _, end = trained(tmp_path, task, "training.min_epoch_steps=10", "stages.autoencoder.epochs=1")
    samples, taken = task.samples[0], [number for _, _, batch, _ in task.batches for number in batch]
    assert samples // 16 < 10 == end.at.total_step
    assert len(taken) == 160
    assert sorted(taken[:samples]) == list(range(samples))
    assert len(set(taken[samples:])) == 160 - samples and taken[samples:] != taken[: 160 - samples]


def test_every_step_takes_samples_of_one_member_and_members_take_part_by_their_sizes(tmp_path):
    members = []

    class Counting(Regression):
        def prepare(self, batch):
            members.append((batch.member, batch.first, batch.numbers.tolist()))
            return super().prepare(batch)

    counting = Counting()
    counting.samples = (64, 32)
    trained(tmp_path, counting, "stages.autoencoder.epochs=3")
    for epoch in range(3):
        steps = members[6 * epoch : 6 * epoch + 6]
        assert sorted(member for member, *_ in steps) == [0, 0, 0, 0, 1, 1]
        for member, samples in enumerate(counting.samples):
            own = [step for step in steps if step[0] == member]
            assert [first for _, first, _ in own] == [16 * turn for turn in range(len(own))]
            assert sorted(number for *_, numbers in own for number in numbers) == list(range(samples))
    assert len({tuple(member for member, *_ in members[6 * e : 6 * e + 6]) for e in range(3)}) > 1
