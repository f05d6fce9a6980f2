"""The distillation stage: the teacher's step, the target network, noise levels, micro-batches, an early end."""

from itertools import pairwise

import pytest
import torch

from ups_engine.models.diffusion import ConsistencyResidual, Context, DiffusionResidual
from ups_engine.stages.consistency_distill import heun, num_taus


def test_one_step_of_the_teacher_is_of_second_order(lab):
    """Untrained, D = x / (sigma^2 + 1) and the trajectory through x is x sqrt((1 + sigma^2) / (1 + high^2))."""
    teacher = lab.context().results.fresh("diffusion_residual", DiffusionResidual)
    x = torch.randn(3, 8, 8)
    parameters = torch.zeros(3, lab.context().plan.parameters)
    context = Context(x, x, parameters, torch.ones(3))
    high, low = 4.0, 1.0
    exact = x * ((1 + low**2) / (1 + high**2)) ** 0.5
    errors = []
    for steps in (4, 8, 16):
        y, levels = x, torch.linspace(high, low, steps + 1)
        with torch.no_grad():
            for now, after in pairwise(levels):
                y = heun(teacher, y, now.expand(3), after.expand(3), context)
        errors.append(((y - exact).norm() / exact.norm()).item())
    ratios = [errors[i] / errors[i + 1] for i in range(2)]
    assert all(3.5 < ratio < 4.6 for ratio in ratios), ratios
    assert errors[-1] < 2e-3


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("[]", [6, 6, 6, 6]), ("[4, 8]", [4, 4, 8, 8]), ("[2, 3, 5]", [2, 2, 3, 5])],
)
def test_the_number_of_noise_levels_follows_its_schedule(lab, schedule, expected):
    given = ("stages.consistency_distill.distill_num_taus=6", f"stages.consistency_distill.tau_schedule={schedule}")
    settings = lab.settings(*given).stages.consistency_distill
    assert [num_taus(settings, progress) for progress in (0.0, 0.3, 0.6, 0.999)] == expected


def test_the_schedule_is_walked_through_even_where_max_steps_cuts_the_stage(lab, tmp_path, monkeypatch):
    seen, levels = [], ConsistencyResidual.levels
    monkeypatch.setattr(
        ConsistencyResidual,
        "levels",
        lambda self, count, device: (seen.append(count) if self.training else None, levels(self, count, device))[1],
    )
    given = ("stages.consistency_distill.tau_schedule=[3, 5]", "stages.consistency_distill.max_steps=4")
    lab.train("consistency_distill", tmp_path, *given, "stages.consistency_distill.epochs=3")
    assert seen == [3, 3, 5, 5]


def test_the_student_starts_as_its_teacher_and_the_target_as_the_student(lab):
    task = lab.task("consistency_distill")
    teacher = lab.context().results.frozen("diffusion_residual_ema", DiffusionResidual)
    states = [teacher.state_dict(), task.network.state_dict(), task.state()]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]) and torch.equal(value, states[2][name])
    assert task.state()["scale"].item() == teacher.scale.item() != 1


def test_the_target_follows_the_student_unless_the_step_was_skipped(lab):
    task = lab.task("consistency_distill", "stages.consistency_distill.target_decay=0.75")
    before = {name: value.clone() for name, value in task.state().items()}
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.add_(1.0)
    task.after_step(torch.tensor(0.0))
    assert all(torch.equal(value, before[name]) for name, value in task.state().items())
    task.after_step(torch.tensor(1.0))
    for name, _ in task.network.named_parameters():
        assert torch.allclose(task.state()[name], before[name] + 0.25, atol=1e-6)


@pytest.mark.parametrize("micro", [3, 8, 16])
def test_micro_batches_give_the_gradient_of_the_whole_batch(lab, tmp_path, micro):
    given = (
        "stages.consistency_distill.batch_size=16",
        "stages.consistency_distill.max_steps=1",
        "stages.consistency_distill.grad_clip=0",
        "stages.consistency_distill.optimizer={name='sgd', lr=1.0, momentum=0.0}",
        "training.scheduler={name='constant', warmup_epochs=0.0}",
    )
    start = {name: value.clone() for name, value in lab.task("consistency_distill").network.state_dict().items()}
    whole, _, _ = lab.train("consistency_distill", tmp_path / "a", *given)
    cut, _, task = lab.train(
        "consistency_distill", tmp_path / "b", *given, f"stages.consistency_distill.distill_micro_batch={micro}"
    )
    assert task.micro_batch == micro
    steps = [
        torch.cat([(of.network.state_dict()[name] - value).flatten() for name, value in start.items()])
        for of in (whole, cut)
    ]
    assert steps[0].norm() > 1e-4
    assert ((steps[1] - steps[0]).norm() / steps[0].norm()).item() < 1e-3


def test_the_target_loss_ends_the_stage(lab, tmp_path):
    given = ("stages.consistency_distill.epochs=5", "stages.consistency_distill.target_loss=1000")
    _, end, _ = lab.train("consistency_distill", tmp_path / "a", *given)
    assert (end.at.epoch, end.reason) == (1, "target_loss 1000 reached")
    given = ("stages.consistency_distill.epochs=2", "stages.consistency_distill.target_loss=1e-9")
    _, end, _ = lab.train("consistency_distill", tmp_path / "b", *given)
    assert (end.at.epoch, end.reason) == (2, None)


def test_validation_names_operator_and_teacher_beside_the_student(lab):
    task = lab.task("consistency_distill")
    assert task.validate(task.network).keys() == {"score", "operator_error", "teacher_error"}
