"""Reading latents while training: what every reader promises, and the one that holds all of them in memory.

`mapped` has the other, over the chunk files. All readers give the same bits.

Every chunk's checksum is verified when the chunk is first read (26 GB/s on one core, against 10 GB/s for a copy),
so that a damaged one is encoded again, with a word, or refused, but never trained on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.errors import CacheError
from ups_engine.latents.layout import Layout, Packed, unpack
from ups_engine.latents.store import LatentStore
from ups_engine.telemetry.units import human_bytes

Index: TypeAlias = NDArray[np.int64] | torch.Tensor
Faults: TypeAlias = dict[int, str]
Repair: TypeAlias = Callable[[Faults], NDArray[np.int64]]
"""Told what is wrong with which rows, mends them and returns the manifest's checksums as they are then."""

_STAGING_BYTES = 16 << 20


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

    def _checked(self, rows: Index, frames: Index, horizon: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        row, frame = _on_host(rows), _on_host(frames)
        if row.size and (row.min() < 0 or row.max() >= self.layout.samples):
            raise IndexError(f"rows {row.min()} to {row.max()} of a store of {self.layout.samples} trajectories")
        if frame.size and (frame.min() < 0 or frame.max() + horizon >= self.layout.frames):
            raise IndexError(
                f"frames {frame.min()} to {frame.max()} and {horizon} after them, of {self.layout.frames} frames"
            )
        return row, frame

    def _shaped(self, windows: torch.Tensor, horizon: int) -> torch.Tensor:
        return windows.view(-1, 1 + horizon, self.layout.tokens, self.layout.dim)

    def _buffer(self, rows: int, width: int, dtype: torch.dtype) -> torch.Tensor:
        """Room for a batch on the host, page-locked where it goes on to a GPU, so that the copy need not wait."""
        return torch.empty((rows, width), dtype=dtype, pin_memory=self.device.type == "cuda")


class ResidentLatents(LatentReader):
    """All latents in one contiguous float32 tensor, in RAM or on the GPU.

    Where that is the device of the batches, indices may be tensors there and nothing leaves it.

    Args:
        latents: (samples * frames, tokens * dim).
        layout: of the store.
        device: where batches go.
    """

    def __init__(self, latents: torch.Tensor, layout: Layout, device: torch.device) -> None:
        super().__init__(layout, device)
        self._latents = latents

    def gather(self, rows: Index, frames: Index, horizon: int) -> torch.Tensor:
        """See `LatentReader.gather`; indices that are tensors on a GPU are not checked, which would stall it."""
        home = self._latents.device
        if home.type == "cpu" or isinstance(rows, np.ndarray):
            rows, frames = self._checked(rows, frames, horizon)
        first = torch.as_tensor(rows, device=home) * self.layout.frames + torch.as_tensor(frames, device=home)
        index = (first[:, None] + torch.arange(1 + horizon, device=home)).view(-1)
        if home.type == self.device.type:
            return self._shaped(torch.index_select(self._latents, 0, index), horizon)
        batch = self._buffer(len(index), self.layout.frame_numbers, torch.float32)
        torch.index_select(self._latents, 0, index, out=batch)
        return self._shaped(batch.to(self.device, non_blocking=True), horizon)

    def close(self) -> None:
        """See `LatentReader.close`."""
        self._latents = torch.empty(0)


def load_resident(
    store: LatentStore, checksums: NDArray[np.int64], home: torch.device, device: torch.device, repair: Repair
) -> ResidentLatents:
    """Read a whole store into memory, in order, verifying every chunk.

    Args:
        store: the store.
        checksums: of its chunks, (samples,), from the manifest.
        home: the device whose memory holds the latents.
        device: where batches go.
        repair: mends damaged chunks.

    Raises:
        CacheError: the memory does not suffice, or a chunk is damaged and cannot be mended.
    """
    layout = store.layout
    try:
        latents = torch.empty((layout.samples * layout.frames, layout.frame_numbers), device=home)
    except RuntimeError as error:  # torch has no narrower class for the host's memory
        raise CacheError(
            f"{human_bytes(layout.memory_bytes)} of latents do not fit into the memory of {home}",
            "use --set latent.residency=disk",
        ) from error
    by_row = latents.view(layout.samples, -1)
    if faults := _fill(store, checksums, by_row, range(layout.samples)):
        checksums = repair(faults)
        if faults := _fill(store, checksums, by_row, list(faults)):
            raise damaged(store, faults)
    return ResidentLatents(latents, layout, device)


def damaged(store: LatentStore, faults: Faults) -> CacheError:
    """The error for chunks that stay damaged."""
    row, fault = next(iter(faults.items()))
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return CacheError(
        f"trajectory {row} of {store.path} is damaged: {fault}{more}",
        "ups cache check --deep lists the damage; ups cache build encodes again what is bad",
    )


def _fill(store: LatentStore, checksums: NDArray[np.int64], by_row: torch.Tensor, rows: range | list[int]) -> Faults:
    """Read rows into a tensor (samples, numbers of a row), through a buffer of bounded size; return the bad ones."""
    layout = store.layout
    group = min(max(_STAGING_BYTES // layout.row_bytes, 1), max(len(rows), 1))
    staging: Packed = np.empty((group, *layout.row_shape), layout.storage)
    faults: Faults = {}
    for start in range(0, len(rows), group):
        some = rows[start : start + group]
        for place, row in enumerate(some):
            if (fault := store.read(row, staging[place], int(checksums[row]))) is not None:
                faults[row] = fault
        part = unpack(staging[: len(some)], layout.dtype).view(len(some), -1).to(by_row.device)
        if isinstance(some, range):
            by_row[some.start : some.stop].copy_(part)
        else:
            by_row[torch.tensor(some, device=by_row.device)] = part
    return faults


def _on_host(index: Index) -> NDArray[np.int64]:
    return np.asarray(index.cpu() if isinstance(index, torch.Tensor) else index, dtype=np.int64)
