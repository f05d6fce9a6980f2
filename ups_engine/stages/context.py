"""A run's workplace: what its stages share."""

import gc
from functools import partial

import torch

from ups_engine.config.schema import Settings
from ups_engine.data.collection import Collection
from ups_engine.data.fields import TrainingFields
from ups_engine.data.member import Member
from ups_engine.evaluation.rollout import Noise, frame_noise
from ups_engine.latents.pairs import LatentPairs
from ups_engine.latents.residency import gpu_free
from ups_engine.models.surrogate import Surrogate
from ups_engine.runs.directory import RunDirectory
from ups_engine.stages.caches import LatentCaches, collection_targets
from ups_engine.stages.host import Host
from ups_engine.stages.networks import NetworkPlan
from ups_engine.stages.results import Results
from ups_engine.telemetry.gpu import gpu_devices

_FIELDS_SHARE = 4
"""Fields may take a quarter of the GPU memory that is free: they are trained on before any latents are there."""


class StageContext:
    """Settings, data, device, results and latent caches of a run.

    Args:
        settings: of the run.
        run: where results are.
        collection: of the run.
        device: where networks live.
        host: whom the stages work for.
        working: bytes of GPU memory that stages want beside the latents; 0 on the CPU.
    """

    def __init__(
        self,
        settings: Settings,
        run: RunDirectory,
        collection: Collection,
        device: torch.device,
        *,
        host: Host | None = None,
        working: int = 0,
    ) -> None:
        self.settings, self.run, self.collection, self.device = settings, run, collection, device
        self.host, self.working = host or Host(), working
        self.plan = NetworkPlan.of(settings, collection.members)
        self.results = Results(settings, run, self.plan, collection.normalisation(), collection.digest(), device)
        targets = partial(collection_targets, settings, collection, self.results, self.plan, device)
        self.caches = LatentCaches(targets, settings.latent.residency, device, self.host, working)

    def surrogate(self) -> Surrogate:
        """The trained surrogate, without a corrector; `results` has it with one."""
        return self.results.surrogate()

    def noise(self, purpose: str) -> Noise:
        """Noise of predicted frames, for one purpose."""
        return frame_noise(self.settings.seed, purpose, self.device)

    def pairs(self, horizon: int) -> tuple[LatentPairs, ...]:
        """Training pairs of every member, from its cache, which is completed first."""
        return tuple(
            LatentPairs(self.caches.reader(member.name, "train"), member, "train", horizon, self.device)
            for member in self.collection.members
        )

    def fields(self, member: Member) -> TrainingFields:
        """Normalised fields of a member's training split, on the GPU where there is room."""
        free = gpu_free(self.device, gpu_devices()) or 0
        room = free // (_FIELDS_SHARE * len(self.collection.members))
        return TrainingFields(member, "train", self.device, room)

    def release(self) -> None:
        """Give back the caches' memory and what the last stage held on the device."""
        self.caches.release()
        if self.device.type == "cuda":  # a full collection takes a quarter of a second; main memory can wait for it
            gc.collect()
            torch.cuda.empty_cache()
