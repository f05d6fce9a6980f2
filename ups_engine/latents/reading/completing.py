"""Completing a cache while it is trained on: what is cached is read, what is not is encoded and stored.

To a reader a missing trajectory is a chunk that cannot be read, and encoding it is mending it. Whole blocks of the
store's grid are encoded, as a build does, and other builders and runs may share the work, so that neither the batches
nor the store can be told from those of a cache that was completed first.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.latents.building.completion import complete_rows
from ups_engine.latents.checking.examine import Examination, name_rows
from ups_engine.latents.manifest import ABSENT
from ups_engine.latents.reading.prefetching import Ahead
from ups_engine.latents.reading.readers import Faults, Index, LatentReader, Repair, damaged, fill, resident, room_for
from ups_engine.latents.store import LatentStore
from ups_engine.latents.target import CacheTarget


class Completion:
    """Mends chunks that are missing or damaged; a `readers.Repair`.

    Args:
        target: the cache, made ready by `build.prepare_target`.
        seen: what that gave.
        notify: told in a sentence about damage.
        completed: told how many trajectories are complete, whenever more are.
    """

    def __init__(
        self,
        target: CacheTarget,
        seen: Examination,
        notify: Callable[[str], None],
        completed: Callable[[int], None],
    ) -> None:
        self._target, self._grid, self._manifest = target, seen.block, seen.manifest
        self._notify, self._completed = notify, completed

    def __call__(self, faults: Faults) -> NDArray[np.int64]:
        """Complete the blocks of some rows, given with what is wrong with them; returns the checksums of all."""
        bad = [row for row in faults if self._manifest.checksums[row] != ABSENT]
        if bad:
            self._notify(f"{self._target.split} cache: {name_rows(bad)}: {faults[bad[0]]}; encoding again")
        self._grid, self._manifest = complete_rows(
            self._target, list(faults), bad, grid=self._grid, manifest=self._manifest
        )
        self._completed(self._manifest.complete)
        return self._manifest.checksums


class CompletingLatents(LatentReader):
    """Latents in memory, read from the store, or encoded, when a trajectory is first asked for.

    Until all are there, indices are looked at on the host, and batches are not made ahead.

    Args:
        store: the store.
        checksums: of its chunks, (samples,), from the manifest.
        home: the device whose memory holds the latents.
        device: where batches go.
        repair: mends what is missing or damaged.

    Raises:
        CacheError: the memory does not suffice.
    """

    def __init__(
        self,
        store: LatentStore,
        checksums: NDArray[np.int64],
        home: torch.device,
        device: torch.device,
        repair: Repair,
    ) -> None:
        super().__init__(store.layout, device)
        self._store, self._checksums, self._repair = store, checksums, repair
        latents = room_for(store.layout, home)
        self._by_row = latents.view(store.layout.samples, -1)
        self._reader = resident(latents, store.layout, device)
        self._loaded = np.zeros(store.layout.samples, dtype=bool)
        self._whole = False

    def gather(self, rows: Index, frames: Index, horizon: int) -> torch.Tensor:
        """See `LatentReader.gather`."""
        if not self._whole:
            self._load(np.unique(torch.as_tensor(rows).cpu().numpy()))
        return self._reader.gather(rows, frames, horizon)

    def ahead(self, rows: NDArray[np.int64], frames: NDArray[np.int64]) -> Ahead | None:
        """See `LatentReader.ahead`."""
        return self._reader.ahead(rows, frames) if self._whole else None

    def close(self) -> None:
        """See `LatentReader.close`."""
        self._reader.close()
        self._by_row = torch.empty(0)

    def _load(self, rows: NDArray[np.int64]) -> None:
        """Bring rows into memory that are not there yet. Rows beyond the store are left for the reader to refuse."""
        rows = rows[(rows >= 0) & (rows < self.layout.samples)]
        fresh = rows[~self._loaded[rows]].tolist()
        if not fresh:
            return
        if faults := fill(self._store, self._checksums, self._by_row, fresh):
            self._checksums = self._repair(faults)
            if faults := fill(self._store, self._checksums, self._by_row, list(faults)):
                raise damaged(self._store, faults)
        self._loaded[fresh] = True
        self._whole = bool(self._loaded.all())
