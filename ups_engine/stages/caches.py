"""The latent caches of a collection: one for each member and split, all of the run's encoder."""

import time
from collections.abc import Callable
from functools import partial

import torch

from ups_engine.config.schema import Settings
from ups_engine.data.collection import Collection
from ups_engine.data.identity import fingerprint_parts
from ups_engine.data.member import Member
from ups_engine.data.splits import SPLITS, SplitName
from ups_engine.discretisation.arrays import Values
from ups_engine.latents.building.completion import build_target, prepare_target
from ups_engine.latents.claims import StoreClaim
from ups_engine.latents.fingerprint import fingerprint, hash_tensors
from ups_engine.latents.location import cache_root, store_path
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.reading.readers import LatentReader
from ups_engine.latents.residency import choose, gpu_free
from ups_engine.latents.target import CacheKey, CacheTarget, Wanted
from ups_engine.models.encoder import GridEncoder
from ups_engine.stages.host import Host
from ups_engine.stages.networks import NetworkPlan
from ups_engine.stages.results import Results
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import available_memory

_TOLD_APART = 2.0  # s between facts about caches that are completed while training


class LatentCaches:
    """Completes caches when latents are first asked for, and keeps them open until they are released.

    With residency `on_the_fly` they are completed while they are read. From the first request on nobody clears them
    while this lives.

    Args:
        targets: tells what the caches should hold, of any members and splits.
        residency: the setting `latent.residency`.
        device: where batches go.
        host: hears where the latents live, of damage that is mended, how far encoding is, and at most every 2 s what
            is known of the caches: `residency`, `reason`, `samples`, `bytes`, `complete`.
        working: bytes of GPU memory that stages want beside the latents; 0 on the CPU.
    """

    def __init__(
        self,
        targets: Callable[[], tuple[CacheTarget, ...]],
        residency: Wanted,
        device: torch.device,
        host: Host,
        working: int = 0,
    ) -> None:
        self.targets = targets
        self._wanted, self._device, self._host, self._working = residency, device, host, working
        self._ready: dict[CacheKey, CacheTarget] = {}
        self._readers: dict[CacheKey, LatentReader] = {}

    def reader(self, member: str, split: str) -> LatentReader:
        """A split's latents where they live while training.

        Raises:
            CheckpointError: there is no encoder yet.
            CacheError: the disk or the memory is too small, or a cache is damaged beyond repair.
            RunError: the disk filled up or refuses a write.
            DataError: the source cannot be read.
            SettingsError: residency `gpu` is forced and no GPU trains.
        """
        if not self._ready:
            self._make_ready()
        key = member, split
        if key not in self._readers:
            target, count = self._ready[key], partial(self._count, key)
            self._readers[key] = open_latents(target, self._residency.choice, self._device, self._host.warn, count)
        return self._readers[key]

    def release(self) -> None:
        """Give back the memory of the latents; the claims on the stores stay, and what was completed."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _make_ready(self) -> None:
        """Encode what the caches lack, or prepare for that, and choose where the latents live."""
        targets = {target.key: target for target in self.targets()}
        self._claims = [StoreClaim(target.path) for target in targets.values()]  # between stages too
        self._complete = {key: self._completed(target) for key, target in targets.items()}
        required = sum(target.layout.memory_bytes for target in targets.values())
        free = gpu_free(self._device, gpu_devices())
        self._residency = choose(required, available_memory(), free, self._wanted, self._working)
        self._host.tell(f"latent residency {self._residency.choice}: {self._residency.reason}")
        self._facts = {
            "residency": self._residency.choice,
            "reason": self._residency.reason,
            "samples": sum(len(target.rows) for target in targets.values()),
            "bytes": required,
        }
        self._tell_facts()
        self._ready = targets

    def _completed(self, target: CacheTarget) -> int:
        """Trajectories that are complete once a cache is made ready."""
        if self._wanted == "on_the_fly":
            return prepare_target(target, self._host.warn).manifest.complete
        progress = partial(self._host.advance, f"encoding {target.split}")
        return build_target(target, progress=progress, warn=self._host.warn).complete

    def _count(self, key: CacheKey, complete: int) -> None:
        """Hear how many trajectories of an open cache are complete."""
        if complete == self._complete[key]:
            return
        self._complete[key] = complete
        if complete == len(self._ready[key].rows) or time.monotonic() - self._facts_told >= _TOLD_APART:
            self._tell_facts()

    def _tell_facts(self) -> None:
        self._facts_told = time.monotonic()
        self._host.caches({**self._facts, "complete": sum(self._complete.values())})


def collection_targets(
    settings: Settings, collection: Collection, results: Results, plan: NetworkPlan, device: torch.device
) -> tuple[CacheTarget, ...]:
    """What a collection's caches should hold.

    Args:
        settings: of the run.
        collection: whose latents they hold.
        results: with the encoder.
        plan: of the networks.
        device: that encodes.

    Raises:
        CheckpointError: there is no encoder yet.
        DataError: a file was changed since the collection was opened.
    """
    encoder, grid, latent = results.frozen("encoder", GridEncoder), plan.grid, settings.latent
    digest = hash_tensors(encoder.state_dict())

    def target(member: Member, split: SplitName) -> CacheTarget:
        rows = member.splits.of(split)
        member.require_unchanged()
        stamp = fingerprint(
            rows,
            {
                "encoder": digest,
                **fingerprint_parts(member.identity, grid.periodic),
                "fields": list(member.field_names),
                "split": split,
                "normalisation": member.normalisation.to_json(),
                "strides": {"space": settings.data.spatial_stride, "time": settings.data.time_stride},
                "frames": member.frames,
                "patch_size": grid.patch,
                "tokens": grid.count,
                "dim": latent.dim,
                "dtype": latent.cache_dtype,
            },
        )
        parameters = member.physical_parameters(rows)
        return CacheTarget(
            member=member.name,
            split=split,
            path=store_path(cache_root(settings), member.task, split, stamp.digest),
            fingerprint=stamp,
            rows=rows,
            shape=(member.frames, grid.count, latent.dim),
            dtype=latent.cache_dtype,
            frame_bytes=member.reader.value_bytes * member.discretisation.points * member.channels,
            read=member.read,
            encode=_encoding(member, encoder, device),
            conditions={name: parameters[:, i] for i, name in enumerate(member.parameter_names)},
            vouch=member.require_unchanged,
        )

    return tuple(target(member, split) for member in collection.members for split in SPLITS)


def _encoding(member: Member, encoder: GridEncoder, device: torch.device) -> Callable[[Values], torch.Tensor]:
    """Fields (n, T, *space, C), physical -> latents (n, T, tokens, dim)."""

    @torch.no_grad()
    def encode(fields: Values) -> torch.Tensor:
        u = member.normalisation.apply(torch.from_numpy(fields).to(device))
        latents: torch.Tensor = encoder(u.flatten(0, 1)).unflatten(0, u.shape[:2])
        return latents

    return encode
