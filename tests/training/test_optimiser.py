"""The optimiser does what its settings say."""

import pytest
import torch
from torch import nn

from ups_engine.config.training import OptimizerSettings
from ups_engine.training.optimiser import build_optimiser


def settings(name="adamw", **changes):
    values = {"lr": 0.1, "weight_decay": 0.0, "betas": (0.9, 0.999), "momentum": 0.9, **changes}
    return OptimizerSettings(name=name, **values)


def steps(optimiser_settings, gradients, start=1.0):
    """Values of a one-element matrix after each step with these gradients."""
    parameter, values = nn.Parameter(torch.full((1, 1), start)), []
    optimiser = build_optimiser(optimiser_settings, [parameter])
    for gradient in gradients:
        parameter.grad = torch.full((1, 1), gradient)
        optimiser.step()
        values.append(parameter.item())
    return values


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adam_follows_its_betas(name, kind):
    betas, gradients = (0.5, 0.6), [1.0, -2.0, 0.5]
    m = v = 0.0
    expected, x = [], 1.0
    for t, g in enumerate(gradients, 1):
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        x -= 0.1 * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)) ** 0.5 + 1e-8)
        expected.append(x)
    assert steps(settings(name, betas=betas), gradients) == pytest.approx(expected, rel=1e-5)
    assert steps(settings(name, betas=(0.9, 0.999)), gradients) != pytest.approx(expected, rel=1e-2)
    assert type(build_optimiser(settings(name), [nn.Parameter(torch.zeros(1))])) is kind


def test_sgd_follows_its_momentum():
    assert steps(settings("sgd", momentum=0.5), [1.0, 1.0]) == pytest.approx([0.9, 0.9 - 0.1 * 1.5])


def test_weight_decay_spares_norms_and_biases():
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    nn.init.ones_(model[0].bias)
    before = [p.detach().clone() for p in model.parameters()]
    optimiser = build_optimiser(settings(weight_decay=0.5), model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    matrix, *others = [(new.detach(), old) for new, old in zip(model.parameters(), before, strict=True)]
    assert torch.allclose(matrix[0], matrix[1] * (1 - 0.1 * 0.5))
    assert all(torch.equal(new, old) for new, old in others)


def test_adamw_decouples_its_decay_and_adam_does_not():
    assert steps(settings("adamw", weight_decay=0.5), [0.0]) == pytest.approx([0.95])
    assert steps(settings("adam", weight_decay=0.5), [0.0]) == pytest.approx([0.9])  # a first step of full length


def test_frozen_parameters_are_left_out_and_nothing_to_train_is_refused():
    frozen = nn.Linear(2, 2).requires_grad_(False)
    optimiser = build_optimiser(settings(), [*frozen.parameters(), nn.Parameter(torch.zeros(2))])
    assert sum(len(group["params"]) for group in optimiser.param_groups) == 1
    with pytest.raises(ValueError, match="no parameter"):
        build_optimiser(settings(), frozen.parameters())


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_skipped_first_step_leaves_no_trace(name):
    def after(skip):
        parameter = nn.Parameter(torch.ones(64, 64))
        optimiser = build_optimiser(settings(name, weight_decay=0.1), [parameter])
        if skip:
            parameter.grad = torch.full_like(parameter, torch.nan)
            optimiser.found_inf = torch.tensor(1.0)
            optimiser.step()
        optimiser.found_inf = torch.tensor(0.0)
        for gradient in (0.5, -1.0):
            parameter.grad = torch.full_like(parameter, gradient)
            optimiser.step()
        return parameter.detach()

    torch.full((64, 64), torch.nan)  # freed at once: what uninitialised memory would hold
    assert torch.equal(after(skip=True), after(skip=False))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_saved_state_goes_on_bit_for_bit(name):
    def run(interrupted):
        torch.manual_seed(0)
        model = nn.Linear(4, 4)
        optimiser = build_optimiser(settings(name, weight_decay=0.1), model.parameters())
        for step in range(6):
            if interrupted and step == 3:
                stored = optimiser.state_dict()
                optimiser = build_optimiser(settings(name, weight_decay=0.1), model.parameters())
                optimiser.load_state_dict(stored)
            optimiser.zero_grad()
            model(torch.ones(2, 4) * step).square().mean().backward()
            optimiser.step()
        return model.weight.detach()

    assert torch.equal(run(True), run(False))
