"""A loss that is not finite costs its step and nothing else, and is told with its batch; too many end the stage."""

import pytest
import torch
from toys import Asked, Events, Regression, same_bits, trainer, weights

from ups_engine.errors import TrainingError
from ups_engine.losses import LossBundle
from ups_engine.training.control import Action
from ups_engine.training.state import pack_optimiser


def everything(of, task):
    moments = {name: value.clone() for name, value in pack_optimiser(of._optimiser).items()}
    return {**weights(of), **moments, "task": task.followed.clone()}


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("broken", [0, 4])
def test_a_broken_step_leaves_weights_moments_and_averages_alone(tmp_path, optimiser, broken):
    task, seen, events = Regression(broken=(broken,)), [], Events()
    given = (f"training.optimizer.name={optimiser}", "training.optimizer.weight_decay=0.1", "training.accum_steps=2")
    of = trainer(tmp_path, task, *given, events=events)
    of._control = Asked(snapshot=lambda: seen.append(everything(of, task)))
    of.run()
    for name, before in seen[broken].items():
        assert torch.equal(seen[broken + 1][name], before), name
    assert not torch.equal(seen[broken + 2]["network.0.weight"], seen[broken + 1]["network.0.weight"])
    assert all(torch.isfinite(value).all() for value in seen[-1].values())
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
        def loss(self, batch, draw):
            bundle = super().loss(batch, draw)
            kink = (0 * self.network[2].bias).sum().sqrt() if draw.total_step == 3 else 0.0
            return LossBundle(bundle.total + kink, bundle.components)  # finite, its gradient is 0 * inf

    task, events = Kink(), Events()
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
    again = trainer(tmp_path, Regression(broken=(5, 6, 7)), *given)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        again.run(again._resume.load())


def test_a_skipped_step_changes_nothing_later_either(tmp_path):
    """The same data after it: training goes on exactly from where it was."""
    of = trainer(tmp_path, Regression(broken=(0,)), "training.scheduler.name=constant", "stages.autoencoder.epochs=1")
    of.run()

    class Late(Regression):
        """Sees, at its steps 0 to 4, what the other saw at its steps 1 to 5."""

        samples = 80

        def loss(self, batch, draw):
            real = Regression.loss
            return real(self, self.later[draw.step], draw)

    full = Regression()
    seen = trainer(tmp_path, full, "stages.autoencoder.epochs=1")
    seen.run()
    late = Late()
    late.samples = 80
    late.later = [torch.tensor(batch) for _, _, batch, _ in full.batches[1:]]
    other = trainer(tmp_path, late, "training.scheduler.name=constant", "stages.autoencoder.epochs=1")
    other.run()
    assert same_bits(weights(of), weights(other))
