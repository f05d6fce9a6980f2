"""The memory that a step will want is foreseen without a GPU, and is what one takes."""

import numpy as np
import pytest
import torch

from ups_engine.config.layers import load_settings
from ups_engine.discretisation.grid import RegularGrid
from ups_engine.latents.residency import choose, gpu_sufficient
from ups_engine.pipeline.forecast import working_memory
from ups_engine.stages.memory import FIXED
from ups_engine.stages.networks import NetworkPlan, build
from ups_engine.telemetry.memory import MemoryBudget

GIB = 1 << 30


def plan_on(*points: int, patch: int) -> NetworkPlan:
    axes = tuple((np.arange(n) + 0.5) / n for n in points)
    grid = RegularGrid(axes, (1.0,) * len(points), (True,) * len(points))
    return NetworkPlan(grid, grid.tokens(patch), channels=1, parameters=1, dt=0.05, frames=41)


PLAN = plan_on(128, patch=8)
LATER = ("diff_residual", "consistency_distill", "steady_prior")


def settings(*overrides: str):
    return load_settings(env={}, overrides=list(overrides)).settings


def only_operator(*overrides: str):
    return settings(*(f"stages.{name}.epochs=0" for name in LATER), *overrides)


def wants(*overrides: str, plan: NetworkPlan = PLAN) -> int:
    return working_memory(only_operator(*overrides), plan)


def test_more_samples_steps_and_width_want_more():
    base = wants("training.batch_size=1024")
    assert wants("training.batch_size=2048") > 1.5 * base - GIB
    assert wants("training.batch_size=1024", "training.rollout_horizon=2") == wants("training.batch_size=2048")
    assert wants("training.batch_size=1024", "models.operator.hidden=256") > base
    assert wants("training.batch_size=1024", plan=plan_on(64, 64, patch=4)) > 2 * base


def test_the_stage_that_wants_the_most_counts_and_stages_that_are_left_out_do_not():
    greedy = ("models.diffusion.hidden=512", "stages.diff_residual.batch_size=4096")
    assert FIXED < wants() == wants(*greedy) < working_memory(settings(*greedy), PLAN)
    assert wants("stages.operator.epochs=0") == FIXED


def test_nothing_is_counted_that_autograd_would_not_keep_of_the_operator():
    """Against a real forward pass on the CPU, whose fused attention keeps no maps either."""
    chosen = only_operator("training.batch_size=256", "stages.evaluation.batch_size=1")
    operator, decoder, encoder = (build(name, chosen, PLAN) for name in ("operator", "decoder", "encoder"))
    kept: dict[int, torch.Tensor] = {}
    weights = {t.data_ptr() for net in (operator, decoder, encoder) for t in (*net.parameters(), *net.buffers())}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    z, cond, dt = torch.randn(256, 16, 16), torch.randn(256, 1), torch.full((256,), 0.05)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = decoder(operator(z, cond, dt)).square().mean()
    assert loss.requires_grad
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    foreseen = working_memory(chosen, PLAN) - wants("training.batch_size=1", "stages.evaluation.batch_size=1")
    assert real < foreseen < 2.5 * real


def test_what_a_step_wants_decides_about_the_gpu_and_is_told():
    memory = MemoryBudget(64 * GIB, "host memory", 64 * GIB)
    assert choose(30 * GIB, memory, 40 * GIB).choice == "gpu"
    found = choose(30 * GIB, memory, 40 * GIB, working=12 * GIB)
    assert found.choice == "ram"
    assert "12.0 GiB are kept for the networks (a probe step wants 12.0 GiB with weights and optimiser)" in found.reason
    assert gpu_sufficient(28 * GIB, 40 * GIB, 12 * GIB) and not gpu_sufficient(28 * GIB + 1, 40 * GIB, 12 * GIB)


@pytest.mark.gpu
@pytest.mark.parametrize("overrides", [["training.batch_size=4096"], ["models.operator.hidden=512"]])
def test_a_step_on_a_gpu_takes_what_was_foreseen(overrides):
    chosen = only_operator("stages.evaluation.batch_size=1", *overrides)
    device, size = torch.device("cuda"), chosen.stages.operator.batch_size
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    operator, decoder = (build(name, chosen, PLAN).to(device) for name in ("operator", "decoder"))
    optimiser = torch.optim.AdamW(operator.parameters(), fused=True)
    z, cond = torch.randn(size, 16, 16, device=device), torch.randn(size, 1, device=device)
    decoder(operator(z, cond, torch.full((size,), 0.05, device=device))).square().mean().backward()
    optimiser.step()
    peak = torch.cuda.max_memory_allocated()
    assert peak < working_memory(chosen, PLAN) - (768 << 20) < 2.5 * peak
