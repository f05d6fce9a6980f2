"""The networks of a run: fresh ones to train, trained ones to use, and results to keep."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from ups_engine.config.archive import settings_fingerprint
from ups_engine.config.schema import Settings
from ups_engine.errors import CheckpointError
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.diffusion import ResidualModel
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.runs.checkpoints import load_result, save_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.sidecars import read_sidecar, refuse_stale
from ups_engine.stages.networks import NetworkPlan, build, dependencies, differences, network_of
from ups_engine.stages.variant import Variant

Module = TypeVar("Module", bound=nn.Module)


class Results:
    """What a run's stages make and find.

    Args:
        settings: of the run.
        run: whose checkpoints they are.
        plan: what the networks' shapes follow from.
        normalisation: of the data, JSON-able; a result belongs to one.
        data: hash of what is learned from; a result belongs to one.
        device: where networks live.
    """

    def __init__(
        self,
        settings: Settings,
        run: RunDirectory,
        plan: NetworkPlan,
        normalisation: Mapping[str, Any],
        data: str,
        device: torch.device,
    ) -> None:
        self._settings, self._run, self._plan = settings, run, plan
        self._normalisation, self._data, self._device = normalisation, data, device

    def fresh(self, result: str, kind: type[Module]) -> Module:
        """A new network on the device, by the name of its result."""
        network = build(result, self._settings, self._plan)
        assert isinstance(network, kind), f"{result} is no {kind.__name__}"
        return network.to(self._device)

    def trained(self, result: str, kind: type[Module]) -> Module:
        """A network with the weights of a result, to be trained further.

        Raises:
            CheckpointError: it is missing, damaged, or was made with other settings, data or results than there are.
        """
        network = self.fresh(result, kind)
        tensors, sidecar = load_result(self._run, result)
        differing = differences(sidecar.get("settings", {}), dependencies(self._settings, result))
        if differing or sidecar.get("normalisation") != self._normalisation:
            raise CheckpointError(
                f"{self._run.checkpoints / result}.safetensors was made with other"
                f" {', '.join(differing) or 'normalisation of the data'}",
                "put the settings back, or train that stage again in a new run",
            )
        if sidecar.get("data", self._data) != self._data:
            raise CheckpointError(
                f"{self._run.checkpoints / result}.safetensors was trained on other data or other splits",
                "put the run's own result back, or train that stage again",
            )
        refuse_stale(self._run, result, sidecar)
        declared = network_of(result)
        if sidecar.get("version", 1) < declared.version:
            tensors = declared.upgrade(tensors, self._plan.grid)
        network.load_state_dict(tensors)
        return network

    def frozen(self, result: str, kind: type[Module]) -> Module:
        """A trained network, not to be trained further; raises as `trained`."""
        return self.trained(result, kind).requires_grad_(False).eval()

    def codec(self) -> tuple[GridEncoder, GridDecoder]:
        """The trained encoder and decoder, not to be trained further; raises as `trained`."""
        return self.frozen("encoder", GridEncoder), self.frozen("decoder", GridDecoder)

    def save(self, result: str, network: nn.Module, stage: str, metrics: Mapping[str, float]) -> None:
        """Store a stage's result, replacing an earlier one; its sidecar names what it was trained on."""
        declared = network_of(result)
        sidecar = {
            "stage": stage,
            "run": self._run.record.id,
            "version": declared.version,
            "settings_fingerprint": settings_fingerprint(self._settings, declared.depends_on),
            "settings": dependencies(self._settings, result),
            "normalisation": self._normalisation,
            "data": self._data,
            "trained_on": self.origins(result),
            "metrics": dict(metrics),
        }
        save_result(self._run, result, network.state_dict(), sidecar)

    def origins(self, result: str) -> dict[str, str]:
        """The hashes, by name, of the results that one is trained on, as they are now; raises as `read_sidecar`."""
        return {name: read_sidecar(self._run, name)["sha256"] for name in network_of(result).trained_on}

    def surrogate(self, variant: Variant | None = None) -> Surrogate:
        """The trained surrogate as a variant predicts; None is the operator alone.

        Raises:
            CheckpointError: as `trained`.
        """
        encoder, decoder = self.codec()
        operator = self.frozen("operator_ema", LatentOperator)
        if variant is None or variant.corrector is None:
            return Surrogate(encoder, decoder, operator).eval()
        corrector = self.frozen(variant.corrector, ResidualModel)
        steps, temperature = variant.steps(self._settings), self._settings.stages.diff_residual.temperature
        return Surrogate(encoder, decoder, operator, corrector, steps=steps, temperature=temperature).eval()
