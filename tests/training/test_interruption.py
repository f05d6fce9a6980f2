"""A stage interrupted anywhere, any number of times, ends with the bits of one that was not."""

from functools import cache

import pytest
from toys import Asked, Events, Regression, same_bits, saved, trainer, weights

from ups_engine.training.control import Action

SETTINGS = {
    "adamw, cosine": ("training.optimizer.name=adamw", "training.scheduler.warmup_epochs=0.5"),
    "adam, plateau": ("training.optimizer.name=adam", "training.scheduler.name=reducelronplateau",
                      "training.scheduler.patience=0", "stages.autoencoder.optimizer.lr=0.1"),
    "sgd, steps": ("training.optimizer.name=sgd", "training.scheduler.name=steplr", "training.scheduler.step_size=1"),
    "plain sgd": ("training.optimizer.name=sgd", "training.optimizer.momentum=0"),
    "accumulated": ("training.accum_steps=2", "training.validation_interval=2"),
    "max steps, broken": ("stages.autoencoder.max_steps=17", "training.nonfinite_limit=4"),
}  # fmt: skip


def task(name):
    """A plateau is one from the second epoch on, so that the rate falls with what the schedule remembers."""
    scores = [1.0] * 4 if "plateau" in name else None
    return Regression(noise=0.2, scores=scores, broken=(2, 9) if "broken" in name else ())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What each of the settings comes to without an interruption."""

    @cache
    def train(name):
        regression = task(name)
        of = trainer(tmp_path_factory.mktemp("whole"), regression, *SETTINGS[name])
        end = of.run()
        return weights(of), regression.followed, end

    return train


def told(events):
    """What the epochs' events say, but for times; of an epoch that was done again, the later."""
    timed = ("seconds", "epoch_seconds", "throughput")
    epochs = events.of("epoch")
    return {epoch: {k: v for k, v in data.items() if k not in timed} for _, epoch, _, data in epochs}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("leaving", [(0,), (1,), (5,), (6,), (8, 2), (1, 1, 1, 1), (7, 1, 9)], ids=str)
def test_leaving_and_going_on_changes_no_bit(tmp_path, whole, name, leaving):
    """`leaving`: after how many steps each process but the last leaves; an epoch has 6 steps (accumulated: 3)."""
    expected, followed, expected_end = whole(name)
    for steps in (*leaving, None):
        control = Asked() if steps is None else Asked({steps: Action.LEAVE})
        regression = task(name)
        of = trainer(tmp_path, regression, *SETTINGS[name], control=control)
        end = of.run(saved(tmp_path))
        assert end.action is Action.GO_ON or end.at.total_step < expected_end.at.total_step
        if end.action is Action.GO_ON:
            break
    assert same_bits(weights(of), expected)
    assert regression.followed == followed
    one, other = end.at, expected_end.at
    assert (one.best, one.best_epoch, one.total_step, one.since_best) == (
        other.best, other.best_epoch, other.total_step, other.since_best
    )  # fmt: skip


@pytest.mark.parametrize("name", ["adam, plateau", "accumulated", "max steps, broken"])
def test_dying_at_any_step_and_going_on_from_the_newest_state_changes_no_bit(tmp_path, whole, name):
    expected, followed, _ = whole(name)
    for number, (every_step, deaths) in enumerate([(True, (4, 1, 3)), (False, (8, 3)), (True, (0, 6))]):
        folder = tmp_path / str(number)
        folder.mkdir()
        interval = f"training.checkpoint_interval={0 if every_step else 1000}"
        for steps in deaths:
            of = trainer(folder, task(name), *SETTINGS[name], interval, control=Asked(crash_at=steps))
            with pytest.raises(KeyboardInterrupt):
                of.run(saved(folder))
        regression = task(name)
        of = trainer(folder, regression, *SETTINGS[name], interval)
        of.run(saved(folder))
        assert same_bits(weights(of), expected)
        assert regression.followed == followed  # the weights after every step, also of epochs that were not the best


def test_the_epochs_of_an_interrupted_stage_are_told_as_if_nothing_had_happened(tmp_path):
    events, interrupted = Events(), Events()
    trainer(tmp_path / "whole", task(""), events=events).run()
    for steps in (3, 2, 10, None):
        control = Asked() if steps is None else Asked({steps: Action.LEAVE})
        of = trainer(tmp_path, task(""), control=control, events=interrupted)
        end = of.run(saved(tmp_path))
    assert end.at.seconds >= 0
    assert told(interrupted) == told(events)
    assert [data["resume"] for *_, data in interrupted.of("checkpoint")] == [1, 2, 3]


def test_states_are_saved_at_the_interval(tmp_path):
    events = Events()
    trainer(tmp_path, task(""), "training.checkpoint_interval=0", events=events).run()
    assert [step for _, _, step, _ in events.of("checkpoint")] == list(range(1, 25))
