"""Latents that are brought from the store into memory: all at once, or each trajectory when it is first asked for."""

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.errors import CacheError
from ups_engine.latents.layout import Layout, Packed, unpack
from ups_engine.latents.reading.buffers import allocate
from ups_engine.latents.reading.prefetching import Index, LatentSequence
from ups_engine.latents.reading.readers import DeviceLatents, Faults, LatentReader, RamLatents, Repair, damaged
from ups_engine.latents.store import LatentStore
from ups_engine.telemetry.units import human_bytes

_STAGING_BYTES = 16 << 20


class CompletingLatents(LatentReader):
    """Latents in memory, read from the store, or encoded, when a trajectory is first asked for.

    Until all are there, indices are looked at on the host, and batches are not prefetched.

    Args:
        store: the store.
        checksums: of its chunks, (samples,), from the manifest.
        home: the device whose memory holds the latents.
        device: where batches go.
        repair: mends what is missing or damaged.

    Attributes:
        memory: reads what is there.

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
        latents = _room_for(store.layout, home)
        self._by_row = latents.view(store.layout.samples, -1)
        self.memory = (
            RamLatents(latents, store.layout, device) if home.type == "cpu" else DeviceLatents(latents, store.layout)
        )
        self._loaded = np.zeros(store.layout.samples, dtype=bool)
        self._whole = False

    def gather(self, rows: Index, frames: Index, horizon: int) -> torch.Tensor:
        """See `LatentReader.gather`."""
        if not self._whole:
            self.load(np.unique(torch.as_tensor(rows).cpu().numpy()))
        return self.memory.gather(rows, frames, horizon)

    def sequence(self, rows: NDArray[np.int64], frames: NDArray[np.int64]) -> LatentSequence:
        """See `LatentReader.sequence`."""
        return self.memory.sequence(rows, frames) if self._whole else super().sequence(rows, frames)

    def close(self) -> None:
        """See `LatentReader.close`."""
        self.memory.close()
        self._by_row = torch.empty(0)

    def load(self, rows: NDArray[np.int64]) -> None:
        """Bring rows (n,) into memory that are not there yet; those beyond the store are left for gathering to refuse.

        Raises:
            CacheError: a chunk is damaged and cannot be mended.
        """
        rows = rows[(rows >= 0) & (rows < self.layout.samples)]
        fresh = rows[~self._loaded[rows]].tolist()
        if not fresh:
            return
        if faults := self._fill(fresh):
            self._checksums = self._repair(faults)
            if faults := self._fill(list(faults)):
                raise damaged(self._store, faults)
        self._loaded[fresh] = True
        self._whole = bool(self._loaded.all())

    def _fill(self, rows: list[int]) -> Faults:
        """Read and verify rows, through a buffer of bounded size; return the bad ones."""
        layout = self.layout
        group = min(max(_STAGING_BYTES // layout.row_bytes, 1), len(rows))
        staging: Packed = np.empty((group, *layout.row_shape), layout.storage)
        faults: Faults = {}
        for start in range(0, len(rows), group):
            some = rows[start : start + group]
            for place, row in enumerate(some):
                if (fault := self._store.read(row, staging[place], int(self._checksums[row]))) is not None:
                    faults[row] = fault
            part = unpack(staging[: len(some)], layout.dtype).view(len(some), -1).to(self._by_row.device)
            if some == list(range(some[0], some[0] + len(some))):  # a copy is faster than a scatter
                self._by_row[some[0] : some[0] + len(some)].copy_(part)
            else:
                self._by_row[torch.tensor(some, device=self._by_row.device)] = part
        return faults


def _room_for(layout: Layout, home: torch.device) -> torch.Tensor:
    """Memory (samples * frames, tokens * dim) for a whole store, undefined."""
    shape = (layout.samples * layout.frames, layout.frame_numbers)
    try:
        if home.type != "cpu":
            return torch.empty(shape, device=home)
        return allocate(shape[0] * shape[1], torch.float32).view(shape)
    except (OSError, RuntimeError) as error:  # the kernel's and torch's ways to say so
        raise CacheError(
            f"{human_bytes(layout.memory_bytes)} of latents do not fit into the memory of {home}",
            "use --set latent.residency=disk",
        ) from error
