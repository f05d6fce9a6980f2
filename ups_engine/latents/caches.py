"""The latent caches of a run: completed, or made ready for that, and read from where they live while training."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import torch

from ups_engine.latents.building.completion import build_target, prepare_target
from ups_engine.latents.claims import StoreClaim
from ups_engine.latents.reading.opening import open_latents, open_on_the_fly
from ups_engine.latents.reading.readers import LatentReader
from ups_engine.latents.residency import choose, gpu_free
from ups_engine.latents.target import CacheKey, CacheTarget, Wanted
from ups_engine.reporting import Advance, Tell
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import available_memory

Facts: TypeAlias = Callable[[Mapping[str, object]], None]
"""Told what is known of the caches: `residency`, `reason`, `samples`, `bytes`, `complete`."""

_TOLD_APART = 2.0  # s between facts about caches that are completed while training


class LatentCaches:
    """The caches of a collection's members and splits.

    Nobody clears them until `close`. With `on_the_fly` they are completed while they are read, else here.

    Args:
        targets: the caches, of any members and splits.
        residency: the setting `latent.residency`.
        device: where batches go.
        working_bytes: GPU memory that training wants beside the latents; 0 on the CPU.
        tell: told in a sentence where the latents live.
        warn: told in a sentence about damage that is mended.
        advance: told how far encoding is; may raise to stop it.
        facts: told what is known of the caches, at most every 2 s.

    Raises:
        CacheError: the disk has too little space or no locks, or the encoder gives non-finite latents.
        RunError: the disk filled up or refuses a write.
        DataError: the source cannot be read.
        SettingsError: residency `gpu` is forced and no GPU trains.
    """

    def __init__(
        self,
        targets: Sequence[CacheTarget],
        residency: Wanted,
        device: torch.device,
        working_bytes: int = 0,
        *,
        tell: Tell = lambda sentence: None,
        warn: Tell = lambda sentence: None,
        advance: Advance = lambda what, done, total: None,
        facts: Facts = lambda facts: None,
    ) -> None:
        self._targets = {target.key: target for target in targets}
        self._device, self._warn, self._told = device, warn, facts
        self._on_the_fly = residency == "on_the_fly"
        self._readers: dict[CacheKey, LatentReader] = {}
        self._claims = [StoreClaim(target.path) for target in targets]  # between stages too
        self._complete = {target.key: self._make_ready(target, advance) for target in targets}
        required = sum(target.layout.memory_bytes for target in targets)
        self.residency = choose(required, available_memory(), gpu_free(device, gpu_devices()), residency, working_bytes)
        tell(f"latent residency {self.residency.choice}: {self.residency.reason}")
        self._facts = {
            "residency": self.residency.choice,
            "reason": self.residency.reason,
            "samples": sum(len(target.rows) for target in targets),
            "bytes": required,
        }
        self._tell_facts()

    def reader(self, key: CacheKey) -> LatentReader:
        """The latents of a member's split, (member, split), opened at the first call.

        Raises:
            CacheError: the memory does not suffice, or a cache is damaged beyond repair.
        """
        if key not in self._readers:
            self._readers[key] = self._open(self._targets[key])
        return self._readers[key]

    def release(self) -> None:
        """Give the readers' memory back; they are opened again when asked for."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def close(self) -> None:
        """Release, and let the caches be cleared."""
        self.release()
        for claim in self._claims:
            claim.release()

    def _make_ready(self, target: CacheTarget, advance: Advance) -> int:
        """Encode what a cache lacks, or prepare for that; trajectories that are complete."""
        if self._on_the_fly:
            return prepare_target(target, self._warn).manifest.complete
        return build_target(target, progress=partial(advance, f"encoding {target.split}"), warn=self._warn).complete

    def _open(self, target: CacheTarget) -> LatentReader:
        choice = self.residency.choice
        if not self._on_the_fly:
            return open_latents(target, choice, self._device, self._warn)

        def completed(count: int) -> None:
            self._complete[target.key] = count
            if count == len(target.rows) or time.monotonic() - self._facts_told >= _TOLD_APART:
                self._tell_facts()

        return open_on_the_fly(target, choice, self._device, self._warn, completed)

    def _tell_facts(self) -> None:
        self._facts_told = time.monotonic()
        self._told({**self._facts, "complete": sum(self._complete.values())})
