"""A loss that is not finite costs its step and nothing else, and is told with its batch; too many end the stage."""

from dataclasses import replace

import pytest
import torch
from toys import Asked, Events, Regression, same_bits, saved, trainer, weights

from ups_engine.errors import TrainingError
from ups_engine.losses.terms import LossBundle
from ups_engine.training.control import Action
from ups_engine.training.task import Inputs


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("broken", [0, 4])
def test_a_broken_step_leaves_weights_moments_and_averages_alone(tmp_path, optimiser, broken):
    """Looked at in the resumable states, one for every step boundary: they hold all that a step may change."""
    seen, events, control = [], Events(), Asked()
    given = (
        f"training.optimizer.name={optimiser}",
        "training.optimizer.weight_decay=0.1",
        "training.accum_steps=2",
        "training.checkpoint_interval=0",
    )
    control.snapshot = lambda: seen.append(None if (state := saved(tmp_path)) is None else state[0])
    trainer(tmp_path, Regression(broken=(broken,)), *given, events=events, control=control).run()
    boundaries = {step: state for step, state in enumerate(seen) if state is not None}
    own = ("now/", "optimiser/", "task/")
    if broken:
        for name, before in boundaries[broken].items():
            assert not name.startswith(own) or torch.equal(boundaries[broken + 1][name], before), name
    else:
        untouched = Regression().network.state_dict()
        assert all(torch.equal(boundaries[1][f"now/network/{name}"], value) for name, value in untouched.items())
        assert boundaries[1]["task/followed"] == 0
    key = "now/network/0.weight"
    assert not torch.equal(boundaries[broken + 2][key], boundaries[broken + 1][key])
    assert all(torch.isfinite(value).all() for value in boundaries[max(boundaries)].values())
    assert all(data["loss"] == data["loss"] for *_, data in events.of("epoch"))  # the mean is of the finite ones


def test_a_broken_step_is_told_with_its_batch(tmp_path):
    task, events = Regression(broken=(8,)), Events()
    trainer(tmp_path, task, events=events).run()
    [(_, epoch, step, data)] = events.of("warning")
    assert (epoch, step) == (1, 8)
    batch = next(batch for e, s, batch, _ in task.batches if (e, s) == (1, 2))
    assert data["message"] == (
        "the loss of epoch 1 step 2 was not finite, the step was skipped; its batch: samples"
        f" {', '.join(map(str, batch[:8]))} ..."
    )


def test_a_gradient_that_is_not_finite_is_a_broken_step_too(tmp_path):
    class Kink(Regression):
        def loss(self, inputs):
            sound = Inputs(inputs.tensors, inputs.noise)
            bundle = super().loss(sound)
            kink = (0 * self.network[2].bias).sum().sqrt() if inputs.form == "broken" else 0.0
            return LossBundle(bundle.total + kink, bundle.components)  # finite, its gradient is 0 * inf

    task, events = Kink(broken=(3,)), Events()
    of = trainer(tmp_path, task, events=events)
    of.run()
    assert [step for _, _, step, _ in events.of("warning")] == [3]
    assert all(torch.isfinite(value).all() for value in weights(of).values())


def test_as_many_broken_steps_in_a_row_as_the_limit_fail_the_stage(tmp_path):
    trainer(tmp_path, Regression(broken=(3, 4, 6, 7)), "training.nonfinite_limit=3").run()
    with pytest.raises(TrainingError, match="not finite in 3 steps in a row, the last one epoch 1 step 1") as caught:
        trainer(tmp_path, Regression(broken=(5, 6, 7)), "training.nonfinite_limit=3").run()
    assert "learning rate" in caught.value.hint


def test_broken_steps_in_a_row_are_counted_across_an_interruption(tmp_path):
    events = Events()
    given = ("training.nonfinite_limit=3",)
    of = trainer(tmp_path, Regression(broken=(5, 6, 7)), *given, control=Asked({7: Action.LEAVE}), events=events)
    assert of.run().action is Action.LEAVE
    assert len(events.of("warning")) == 2
    with pytest.raises(TrainingError, match="3 steps in a row"):
        trainer(tmp_path, Regression(broken=(5, 6, 7)), *given).run(saved(tmp_path))


def test_a_skipped_step_changes_nothing_later_either(tmp_path):
    """The same data after it: training goes on exactly from where it was."""
    of = trainer(tmp_path, Regression(broken=(0,)), "training.scheduler.name=constant", "stages.autoencoder.epochs=1")
    of.run()

    class Late(Regression):
        """Sees, at its steps 0 to 4, what the other saw at its steps 1 to 5."""

        def prepare(self, batch):
            return super().prepare(replace(batch, numbers=self.later[batch.moment.step]))

    full = Regression()
    trainer(tmp_path, full, "stages.autoencoder.epochs=1").run()
    late = Late()
    late.samples = (80,)
    late.later = [torch.tensor(batch) for _, _, batch, _ in full.batches[1:]]
    other = trainer(tmp_path, late, "training.scheduler.name=constant", "stages.autoencoder.epochs=1")
    other.run()
    assert same_bits(weights(of), weights(other))
