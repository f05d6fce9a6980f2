"""Which network is saved under which name, and which settings it depends on."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ups_engine.config.archive import value_at
from ups_engine.config.schema import Settings
from ups_engine.data.member import Member
from ups_engine.discretisation.grid import RegularGrid
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.diffusion import ConsistencyResidual, DiffusionResidual
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.tokens import TokenGrid
from ups_engine.training.randomness import seed_of

_LATENT = ("data.fields", "data.patch_size", "data.spatial_stride", "latent.dim", "models.encoder", "models.decoder")
_OPERATOR = (*_LATENT, "data.time_stride", "models.operator")
_DIFFUSION = (*_OPERATOR, "models.diffusion", "stages.diff_residual.noise")

DEPENDS_ON: dict[str, tuple[str, ...]] = {
    "encoder": _LATENT,
    "decoder": _LATENT,
    "operator": _OPERATOR,
    "operator_ema": _OPERATOR,
    "diffusion_residual": _DIFFUSION,
    "diffusion_residual_ema": _DIFFUSION,
    "consistency": _DIFFUSION,
    "consistency_ema": _DIFFUSION,
    "steady_prior": (*_LATENT, "models.steady_prior"),
}
"""Results by name, with the settings that their shape and meaning depend on."""


def described(settings: Settings, name: str) -> dict[str, object]:
    """The settings that a result's shape and meaning depend on, with their values."""
    return {key: value_at(settings, key) for key in DEPENDS_ON[name]}


def differences(was: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Keys of `described` settings that are not the same in both, sorted; of tables, those that differ in them."""
    found = []
    for key in sorted({*was, *now}):
        one, other = was.get(key), now.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += [f"{key}.{inner}" for inner in differences(one, other)]
        elif one != other:
            found.append(key)
    return found


@dataclass(frozen=True)
class NetworkPlan:
    """What the networks' shapes follow from.

    Attributes:
        grid: arrangement of the tokens.
        channels: of the fields.
        parameters: number of PDE parameters.
        dt: time between frames.
        frames: of a trajectory.
    """

    grid: TokenGrid
    channels: int
    parameters: int
    dt: float
    frames: int

    @classmethod
    def of(cls, settings: Settings, dataset: Member) -> "NetworkPlan":
        """Fit the settings to the data.

        Raises:
            SettingsError: the tokens do not fit the grid.
        """
        grid = dataset.discretisation
        assert isinstance(grid, RegularGrid)
        tiles = TokenGrid.fit(grid.shape, settings.data.patch_size, grid.periodic, settings.latent.tokens)
        return cls(tiles, dataset.channels, len(dataset.parameter_names), dataset.dt, dataset.frames)


def build(name: str, settings: Settings, plan: NetworkPlan) -> nn.Module:
    """A fresh network of a result's name; its weights are a pure function of the name and the seed."""
    models, dim = settings.models, settings.latent.dim
    stem = name.removesuffix("_ema")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(settings.seed, stem, 0, 0, "weights"))
        if stem == "encoder":
            return GridEncoder(plan.grid, plan.channels, dim, models.encoder)
        if stem == "decoder":
            return GridDecoder(plan.grid, plan.channels, dim, models.decoder)
        if stem in ("operator", "steady_prior"):
            span = plan.dt if stem == "operator" else plan.dt * (plan.frames - 1)
            backbone = models.operator if stem == "operator" else models.steady_prior
            return LatentOperator(plan.grid, dim, backbone, parameters=plan.parameters, reference_dt=span)
        kind = DiffusionResidual if stem == "diffusion_residual" else ConsistencyResidual
        noise = settings.stages.diff_residual.noise
        return kind(plan.grid, dim, models.diffusion, noise, parameters=plan.parameters, reference_dt=plan.dt)


def max_horizon(settings: Settings) -> int:
    """The most steps that the operator is unrolled over, at any epoch of its stage."""
    steps = settings.stages.operator.curriculum
    return max([settings.training.rollout_horizon, *(step.rollout_horizon for step in steps)])
