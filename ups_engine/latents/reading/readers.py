"""Reading latents while training: what every reader promises, and those that hold all of them in memory.

`mapped` has another, over the chunk files, `resident` fills memory. All readers give the same bits.

Every chunk's checksum is verified when the chunk is first read (26 GB/s on one core, against 10 GB/s for a copy),
so that a damaged one is encoded again, with a word, or refused, but never trained on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.errors import CacheError
from ups_engine.latents.layout import Layout
from ups_engine.latents.reading.buffers import BatchBuffers
from ups_engine.latents.reading.prefetching import Index, LatentSequence, PrefetchedSequence
from ups_engine.latents.store import LatentStore

Faults: TypeAlias = dict[int, str]
Repair: TypeAlias = Callable[[Faults], NDArray[np.int64]]
"""Told what is wrong with which rows, mends them and returns the manifest's checksums as they are then."""


class LatentReader(ABC):
    """Latents of one split, for batches in any order.

    Args:
        layout: of the store.
        device: where batches go.
    """

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self.layout = layout
        self.device = device

    @abstractmethod
    def gather(self, rows: Index, frames: Index, horizon: int) -> torch.Tensor:
        """Latents from some frames on.

        Args:
            rows: positions in the store, (B,) int64.
            frames: first frames, (B,) int64.
            horizon: frames after the first, at most `layout.frames - 1`.

        Returns:
            (B, 1 + horizon, tokens, dim), float32, on the device.

        Raises:
            IndexError: a row or frame lies outside the store.
            CacheError: a chunk is damaged and cannot be mended.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the memory; the reader must not be used after that."""

    def sequence(self, rows: NDArray[np.int64], frames: NDArray[np.int64]) -> LatentSequence:
        """Announce samples in the order of their batches, which are prefetched where that gains anything.

        Args:
            rows: positions in the store, (n,).
            frames: first frames, (n,).
        """
        return LatentSequence(self.gather, rows, frames)

    def _shaped(self, windows: torch.Tensor, horizon: int) -> torch.Tensor:
        return windows.view(-1, 1 + horizon, self.layout.tokens, self.layout.dim)


class HostLatents(LatentReader):
    """Latents in the host's memory or files, gathered there and copied to where batches go.

    Args:
        layout: of the store.
        device: where batches go.
        prefetches: that gains something, because gathering or copying keeps others waiting.
    """

    def __init__(self, layout: Layout, device: torch.device, *, prefetches: bool) -> None:
        super().__init__(layout, device)
        self._buffers = BatchBuffers(locked=device.type == "cuda")
        self._prefetches = prefetches
        self._worker: ThreadPoolExecutor | None = None

    @abstractmethod
    def _read(self, rows: NDArray[np.int64], frames: NDArray[np.int64], horizon: int, *, mend: bool) -> torch.Tensor:
        """Numbers (B, window) as they are stored; with `mend` damaged chunks are re-encoded, else refused."""

    def gather(self, rows: Index, frames: Index, horizon: int) -> torch.Tensor:
        """See `LatentReader.gather`."""
        return self._gather(rows, frames, horizon, mend=True)

    def prefetch(self, rows: Index, frames: Index, horizon: int) -> torch.Tensor:
        """Gather in another thread than the caller's, in which nothing is mended.

        Raises:
            CacheError: a chunk is damaged.
        """
        return self._gather(rows, frames, horizon, mend=False)

    def sequence(self, rows: NDArray[np.int64], frames: NDArray[np.int64]) -> LatentSequence:
        """See `LatentReader.sequence`."""
        if not self._prefetches:
            return super().sequence(rows, frames)
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="latents-prefetch")
        return PrefetchedSequence(self.gather, self.prefetch, self.device, rows, frames, self._worker)

    def close(self) -> None:
        """See `LatentReader.close`."""
        if self._worker is not None:
            self._worker.shutdown()
            self._worker = None

    def _gather(self, rows: Index, frames: Index, horizon: int, *, mend: bool) -> torch.Tensor:
        row, frame = _on_host(rows), _on_host(frames)
        # As unsigned numbers negative ones are the largest, so that one look at each array is enough.
        if row.size and row.view(np.uint64).max() >= self.layout.samples:
            raise IndexError(f"rows {row.min()} to {row.max()} of a store of {self.layout.samples} trajectories")
        if frame.size and frame.view(np.uint64).max() >= self.layout.frames - horizon:
            raise IndexError(
                f"frames {frame.min()} to {frame.max()} and {horizon} after them, of {self.layout.frames} frames"
            )
        windows = self._read(row, frame, horizon, mend=mend)
        if self.device.type != "cpu":
            windows = windows.to(self.device, non_blocking=True).to(torch.float32)
        elif windows.dtype != torch.float32:
            windows = self._buffers.take((len(windows), windows.shape[1]), torch.float32).copy_(windows)
        return self._shaped(windows, horizon)


class RamLatents(HostLatents):
    """All latents in one contiguous float32 tensor in RAM.

    Args:
        latents: (samples * frames, tokens * dim).
        layout: of the store.
        device: where batches go.
    """

    def __init__(self, latents: torch.Tensor, layout: Layout, device: torch.device) -> None:
        super().__init__(layout, device, prefetches=device.type == "cuda")
        self._latents = latents

    def _read(self, rows: NDArray[np.int64], frames: NDArray[np.int64], horizon: int, *, mend: bool) -> torch.Tensor:
        windows = windows_of(self._latents, horizon)
        batch = self._buffers.take((len(rows), windows.shape[1]), torch.float32)
        return torch.index_select(windows, 0, torch.from_numpy(rows * self.layout.frames + frames), out=batch)

    def close(self) -> None:
        """See `LatentReader.close`."""
        super().close()
        self._latents = torch.empty(0)


class DeviceLatents(LatentReader):
    """All latents in one contiguous float32 tensor on the GPU that trains; indices may be tensors there.

    Args:
        latents: (samples * frames, tokens * dim), on the device.
        layout: of the store.
    """

    def __init__(self, latents: torch.Tensor, layout: Layout) -> None:
        super().__init__(layout, latents.device)
        self._latents = latents

    def gather(self, rows: Index, frames: Index, horizon: int) -> torch.Tensor:
        """See `LatentReader.gather`; nothing is checked on the host, which would stall the GPU."""
        row, frame = (torch.as_tensor(index, device=self.device) for index in (rows, frames))
        windows = windows_of(self._latents, horizon)
        return self._shaped(torch.index_select(windows, 0, row * self.layout.frames + frame), horizon)

    def sequence(self, rows: NDArray[np.int64], frames: NDArray[np.int64]) -> LatentSequence:
        """See `LatentReader.sequence`; the indices are brought to the device once."""
        there = (torch.from_numpy(index).to(self.device) for index in (rows, frames))
        return LatentSequence(self.gather, *there)

    def close(self) -> None:
        """See `LatentReader.close`."""
        self._latents = torch.empty(0)


def windows_of(latents: torch.Tensor, horizon: int) -> torch.Tensor:
    """A view of frames (n, numbers) as all windows (n - horizon, (1 + horizon) * numbers): one read where there would
    be one for each frame."""
    frames, numbers = latents.shape
    return latents.as_strided((frames - horizon, (1 + horizon) * numbers), (numbers, 1))


def damaged(store: LatentStore, faults: Faults) -> CacheError:
    """The error for chunks that stay damaged."""
    row, fault = next(iter(faults.items()))
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return CacheError(
        f"trajectory {row} of {store.path} is damaged: {fault}{more}",
        "ups cache check --deep lists the damage; ups cache repair encodes again what is bad",
    )


def _on_host(index: Index) -> NDArray[np.int64]:
    if isinstance(index, torch.Tensor):
        index = index.cpu().numpy()
    return index if index.dtype == np.int64 else index.astype(np.int64)
