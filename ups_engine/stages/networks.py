"""Every network that is trained, declared once: how it is built and what it depends on.

A network's result is saved under its name; of one that is `averaged`, the moving average too, as `<name>_ema`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from ups_engine.config.archive import value_at
from ups_engine.config.schema import Settings
from ups_engine.data.survey import MemberSurvey
from ups_engine.discretisation.base import Discretisation
from ups_engine.errors import SettingsError
from ups_engine.models.backbone import upgraded_backbone
from ups_engine.models.decoder import upgraded_decoder
from ups_engine.models.diffusion import ConsistencyResidual, DiffusionResidual, ResidualModel
from ups_engine.models.encoder import upgraded_encoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.tokens import TokenGrid, Weights
from ups_engine.training.randomness import seed_of

_EMA = "_ema"


@dataclass(frozen=True)
class NetworkPlan:
    """What the networks' shapes follow from.

    Attributes:
        discretisation: of the fields; it makes their encoder and decoder.
        grid: arrangement of the tokens.
        channels: of the fields.
        parameters: number of PDE parameters.
        dt: time between frames.
        frames: of a trajectory.
    """

    discretisation: Discretisation
    grid: TokenGrid
    channels: int
    parameters: int
    dt: float
    frames: int

    @classmethod
    def of(cls, settings: Settings, members: Sequence[MemberSurvey]) -> Self:
        """Fit the settings to the data.

        Raises:
            SettingsError: the tokens do not fit a grid, or members differ in what the networks share.
        """
        first, *others = members
        tokens = _arrangement(settings, first)
        for other in others:
            pairs = {
                "tokens": (tokens, _arrangement(settings, other)),
                "channels": (first.channels, other.channels),
                "PDE parameters": (first.parameter_names, other.parameter_names),
            }
            for what, (ours, theirs) in pairs.items():
                if ours != theirs:
                    raise SettingsError(
                        f"{other.name} does not go with {first.name}: {what} {theirs} against {ours}",
                        "one set of networks is trained on all members, so they must agree in these",
                    )
        return cls(first.discretisation, tokens, first.channels, len(first.parameter_names), first.dt, first.frames)


def _arrangement(settings: Settings, member: MemberSurvey) -> TokenGrid:
    return member.discretisation.tokens(settings.data.patch_size, settings.latent.tokens)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that a stage trains.

    Attributes:
        name: of its result.
        build: makes it, with fresh weights.
        depends_on: dotted paths of the settings that its shape and meaning depend on.
        trained_on: results that it was trained on, or with; saved before it, their hashes go into its sidecar.
        averaged: whether its moving average is a result too, which is then the one that others use.
        version: of what it computes from its weights.
        upgrade: weights of the version before as weights of this one; raises CheckpointError where there are none.
    """

    name: str
    build: Callable[[Settings, NetworkPlan], nn.Module]
    depends_on: tuple[str, ...]
    trained_on: tuple[str, ...] = ()
    averaged: bool = True
    version: int = 1
    upgrade: Callable[[Weights, TokenGrid], Weights] = lambda weights, grid: weights

    @property
    def results(self) -> tuple[str, ...]:
        """Names of its results."""
        return (self.name, self.name + _EMA) if self.averaged else (self.name,)


def _operator(settings: Settings, plan: NetworkPlan) -> nn.Module:
    return LatentOperator(
        plan.grid, settings.latent.dim, settings.models.operator, parameters=plan.parameters, reference_dt=plan.dt
    )


def _steady_prior(settings: Settings, plan: NetworkPlan) -> nn.Module:
    span = plan.dt * (plan.frames - 1)
    return LatentOperator(
        plan.grid, settings.latent.dim, settings.models.steady_prior, parameters=plan.parameters, reference_dt=span
    )


def _residual(kind: type[ResidualModel]) -> Callable[[Settings, NetworkPlan], nn.Module]:
    return lambda settings, plan: kind(
        plan.grid,
        settings.latent.dim,
        settings.models.diffusion,
        settings.stages.diff_residual.noise,
        parameters=plan.parameters,
        reference_dt=plan.dt,
    )


_LATENT = ("data.fields", "data.patch_size", "data.spatial_stride", "latent.dim", "models.encoder", "models.decoder")
_OPERATOR = (*_LATENT, "data.time_stride", "models.operator")
_DIFFUSION = (*_OPERATOR, "models.diffusion", "stages.diff_residual.noise")
_CODEC = ("encoder", "decoder")

NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        Network(
            name="encoder",
            build=lambda settings, plan: plan.discretisation.encoder(
                plan.grid, plan.channels, settings.latent.dim, settings.models.encoder
            ),
            depends_on=_LATENT,
            averaged=False,
            version=2,
            upgrade=upgraded_encoder,
        ),
        Network(
            name="decoder",
            build=lambda settings, plan: plan.discretisation.decoder(
                plan.grid, plan.channels, settings.latent.dim, settings.models.decoder
            ),
            depends_on=_LATENT,
            averaged=False,
            trained_on=("encoder",),
            version=2,
            upgrade=upgraded_decoder,
        ),
        Network(
            name="operator",
            build=_operator,
            depends_on=_OPERATOR,
            trained_on=_CODEC,
            version=2,
            upgrade=upgraded_backbone,
        ),
        Network(
            name="diffusion_residual",
            build=_residual(DiffusionResidual),
            depends_on=_DIFFUSION,
            trained_on=(*_CODEC, "operator_ema"),
            version=2,
            upgrade=upgraded_backbone,
        ),
        Network(
            name="consistency",
            build=_residual(ConsistencyResidual),
            depends_on=_DIFFUSION,
            trained_on=(*_CODEC, "operator_ema", "diffusion_residual_ema"),
            version=2,
            upgrade=upgraded_backbone,
        ),
        Network(
            name="steady_prior",
            build=_steady_prior,
            depends_on=(*_LATENT, "models.steady_prior"),
            trained_on=_CODEC,
            averaged=False,
            version=2,
            upgrade=upgraded_backbone,
        ),
    )
}
"""Every network by its name."""


def network_of(result: str) -> Network:
    """The network that a result is the weights, or the moving average, of.

    Raises:
        KeyError: there is no such result.
    """
    stem = result.removesuffix(_EMA)
    if stem not in NETWORKS or result not in NETWORKS[stem].results:
        raise KeyError(f"there is no result {result!r}")
    return NETWORKS[stem]


def build(result: str, settings: Settings, plan: NetworkPlan) -> nn.Module:
    """A fresh network for a result; its weights are a pure function of the network's name and the seed."""
    network = network_of(result)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(settings.seed, network.name, 0, 0, "weights"))
        return network.build(settings, plan)


def dependencies(settings: Settings, result: str) -> dict[str, object]:
    """The settings that a result's shape and meaning depend on, with their values."""
    return {key: value_at(settings, key) for key in network_of(result).depends_on}


def differences(was: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Keys of settings that are not the same in both, sorted; of tables, those that differ in them."""
    found = []
    for key in sorted({*was, *now}):
        one, other = was.get(key), now.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += [f"{key}.{inner}" for inner in differences(one, other)]
        elif one != other:
            found.append(key)
    return found
