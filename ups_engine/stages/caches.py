"""The latent caches of a collection: one for each member and split, all of the run's encoder."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.config.schema import Settings
from ups_engine.data.collection import Collection
from ups_engine.data.member import Member
from ups_engine.data.splits import SPLITS, SplitName
from ups_engine.latents.caches import LatentCaches
from ups_engine.latents.fingerprint import fingerprint, hash_tensors
from ups_engine.latents.location import cache_root, store_path
from ups_engine.latents.reading.readers import LatentReader
from ups_engine.latents.target import CacheTarget
from ups_engine.models.encoder import GridEncoder
from ups_engine.stages.host import Host
from ups_engine.stages.networks import NetworkPlan
from ups_engine.stages.results import Results


class CollectionCaches:
    """Completes the caches when latents are first asked for, and keeps them open until they are released.

    Args:
        settings: of the run.
        collection: whose latents they hold.
        results: with the encoder.
        plan: of the networks.
        device: that encodes, and gets the batches.
        host: hears about them.
        working: bytes of GPU memory that stages want beside the latents; 0 on the CPU.
    """

    def __init__(
        self,
        settings: Settings,
        collection: Collection,
        results: Results,
        plan: NetworkPlan,
        device: torch.device,
        host: Host,
        working: int,
    ) -> None:
        self._settings, self._collection, self._results, self._plan = settings, collection, results, plan
        self._device, self._host, self._working = device, host, working
        self._caches: LatentCaches | None = None

    def reader(self, member: Member, split: SplitName) -> LatentReader:
        """A split's latents where they live while training.

        Raises:
            CheckpointError: there is no encoder yet.
            CacheError: the disk is too small, or a cache is damaged beyond repair.
        """
        if self._caches is None:
            self._caches = LatentCaches(
                self.targets(),
                self._settings.latent.residency,
                self._device,
                self._working,
                tell=self._host.tell,
                warn=self._host.warn,
                advance=self._host.advance,
                facts=self._host.caches,
            )
        return self._caches.reader((member.name, split))

    def targets(self) -> tuple[CacheTarget, ...]:
        """What the caches should hold.

        Raises:
            CheckpointError: there is no encoder yet.
        """
        encoder = self._results.frozen("encoder", GridEncoder)
        digest = hash_tensors(encoder.state_dict())
        return tuple(
            self._target(member, split, encoder, digest) for member in self._collection.members for split in SPLITS
        )

    def release(self) -> None:
        """Give back the memory of the latents; the claims on the stores stay, and what was completed."""
        if self._caches is not None:
            self._caches.release()

    def _target(self, member: Member, split: SplitName, encoder: GridEncoder, digest: str) -> CacheTarget:
        settings, grid, rows = self._settings, self._plan.grid, member.splits.of(split)
        stamp = fingerprint(
            encoder=digest,
            source=member.identity,
            fields=member.field_names,
            split=split,
            rows=rows,
            normalisation=member.normalisation.to_json(),
            spatial_stride=settings.data.spatial_stride,
            time_stride=settings.data.time_stride,
            frames=member.frames,
            patch_size=grid.patch,
            tokens=grid.count,
            dim=settings.latent.dim,
            dtype=settings.latent.cache_dtype,
        )
        parameters = member.physical_parameters(rows)
        return CacheTarget(
            member=member.name,
            split=split,
            path=store_path(cache_root(settings), member.task, split, stamp.digest),
            fingerprint=stamp,
            rows=rows,
            shape=(member.frames, grid.count, settings.latent.dim),
            dtype=settings.latent.cache_dtype,
            frame_bytes=4 * member.discretisation.points * member.channels,
            read=member.read,
            encode=_encoding(member, encoder, self._device),
            conditions={name: parameters[:, i] for i, name in enumerate(member.parameter_names)},
        )


def _encoding(
    member: Member, encoder: GridEncoder, device: torch.device
) -> Callable[[NDArray[np.float32]], torch.Tensor]:
    """Fields (n, T, *space, C), physical -> latents (n, T, tokens, dim)."""

    @torch.no_grad()
    def encode(fields: NDArray[np.float32]) -> torch.Tensor:
        u = member.normalisation.apply(torch.from_numpy(fields).to(device))
        latents: torch.Tensor = encoder(u.flatten(0, 1)).unflatten(0, u.shape[:2])
        return latents

    return encode
