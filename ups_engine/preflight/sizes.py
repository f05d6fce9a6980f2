"""How much room a run will take, from its settings and file headers; networks are built without their numbers."""

from collections.abc import Collection
from math import prod

import torch

from ups_engine.config.schema import Settings
from ups_engine.data.splits import SPLITS
from ups_engine.data.survey import MemberSurvey
from ups_engine.discretisation.grid import RegularGrid
from ups_engine.latents.layout import Layout
from ups_engine.models.tokens import TokenGrid
from ups_engine.stages.networks import NetworkPlan, build
from ups_engine.stages.registry import TRAINING_STAGES

_FLOAT32 = 4
_COPIES_IN_A_STATE = 6
"""A resumable state holds weights and average, both of now and of the best epoch, and two moments of the optimiser."""
_STATES = 3
"""Two are kept while the next is written."""


def network_plan(settings: Settings, seen: MemberSurvey) -> NetworkPlan:
    """What the networks' shapes will follow from.

    Raises:
        SettingsError: the tokens do not fit the grid.
    """
    grid = seen.discretisation
    assert isinstance(grid, RegularGrid)
    tiles = TokenGrid.fit(grid.shape, settings.data.patch_size, grid.periodic, settings.latent.tokens)
    return NetworkPlan(tiles, seen.channels, len(seen.parameters), seen.dt, seen.frames)


def cache_layouts(settings: Settings, seen: MemberSurvey, plan: NetworkPlan) -> tuple[Layout, ...]:
    """The latent caches of all splits."""
    shape = (seen.frames, plan.grid.count, settings.latent.dim)
    return tuple(Layout(len(seen.splits.of(name)), *shape, settings.latent.cache_dtype) for name in SPLITS)


def cache_bytes(layouts: Collection[Layout]) -> int:
    """Bytes of the caches' chunks on the disk."""
    return sum(layout.samples * layout.chunk_bytes for layout in layouts)


def checkpoint_bytes(settings: Settings, plan: NetworkPlan, stages: Collection[str]) -> int:
    """Bytes of the results of training stages and of the resumable states of the largest, while it runs."""
    results, largest = 0, 0
    for stage in TRAINING_STAGES:
        if stage.name not in stages:
            continue
        numbers = {name: _numbers(name, settings, plan) for name in stage.writes}
        results += sum(numbers.values())
        largest = max(largest, sum(n for name, n in numbers.items() if not name.endswith("_ema")))
    return _FLOAT32 * (results + _STATES * _COPIES_IN_A_STATE * largest)


def _numbers(name: str, settings: Settings, plan: NetworkPlan) -> int:
    with torch.device("meta"):
        return sum(prod(tensor.shape) for tensor in build(name, settings, plan).state_dict().values())
