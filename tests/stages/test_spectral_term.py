"""The spectral term of the stages on grids of two and three axes: what a shift around the grid costs."""

from types import SimpleNamespace

import pytest
import torch

from ups_engine.models.tokens import TokenGrid
from ups_engine.stages.operator import Form, OperatorTask
from ups_engine.stages.steady_prior import SteadyPriorTask
from ups_engine.training.task import Inputs

GRIDS = {"2-D": (4, 6), "3-D": (4, 5, 6)}


def spectral(kind, cells, change):
    """The stage's L_spec where the network predicts the truth (3, tokens, 5) changed on its grid (3, *cells, 5)."""
    truth = torch.randn(3, *cells, 5, generator=torch.Generator().manual_seed(1))
    task = object.__new__(kind)
    task.network = lambda z, cond, dt: change(z.unflatten(1, cells)).flatten(1, -2)
    grid = TokenGrid(tuple(2 * n for n in cells), 2, (True,) * len(cells))
    task._encoder = task._decoder = SimpleNamespace(grid=grid)
    z = truth.flatten(1, -2)
    future = {"limit": z} if kind is SteadyPriorTask else {"future": z[:, None]}
    tensors = {"z0": z, **future, "cond": None, "dt": None, "weights": torch.ones(1)}
    terms = ("spectral",)
    form = terms if kind is SteadyPriorTask else Form(terms, 1)
    return task.loss(Inputs(tensors, None, form)).components["L_spec"].item()


@pytest.mark.parametrize("cells", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("kind", [OperatorTask, SteadyPriorTask])
def test_a_shift_by_one_token_along_any_axis_costs_rounding_and_another_scale_does_not(kind, cells):
    for axis in range(1, 1 + len(cells)):
        assert spectral(kind, cells, lambda z, axis=axis: z.roll(1, axis)) < 1e-12
    assert spectral(kind, cells, lambda z: 1.1 * z) == pytest.approx(0.01, rel=0.15)
