"""Memory on the host for latents and for batches of them.

Fresh memory is dear: the kernel clears and maps it page by page at its first use, at which a batch of some megabytes
takes five times as long to fill as one in memory that was used before. So latents lie on huge pages where the kernel
has them, and the memory of a batch is used again as soon as nobody holds the batch any more.
"""

import mmap
import threading
import weakref
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray

_HUGE = 2 << 20
_KEPT = 4  # batches whose memory is kept: in use, being made, and some that a caller still holds


def allocate(numbers: int, dtype: torch.dtype) -> torch.Tensor:
    """Memory of its own for (numbers,) numbers, on huge pages where the kernel has them; undefined.

    Raises:
        OSError: there is not so much memory.
    """
    return torch.frombuffer(_map(max(numbers * dtype.itemsize, 1)), dtype=dtype)[:numbers]


class BatchBuffers:
    """Memory for one batch after another.

    Args:
        locked: page-locked memory, from which a copy to a GPU need not be waited for. CUDA's own allocator then sees
            to it that memory is used again no sooner than the copy out of it is done.
    """

    def __init__(self, *, locked: bool) -> None:
        self._locked = locked
        self._guard = threading.Lock()
        self._kept: list[tuple[mmap.mmap, weakref.ref[NDArray[np.uint8]]]] = []

    def take(self, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        """Room for a batch, undefined; its memory comes back once the tensor and all views of it are gone."""
        if self._locked:
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        with self._guard:
            lease = self._lease(shape[0] * shape[1] * dtype.itemsize)
        return torch.empty(shape, dtype=dtype) if lease is None else torch.from_numpy(lease).view(dtype).view(shape)

    def _lease(self, size: int) -> NDArray[np.uint8] | None:
        """Bytes that nobody uses. A tensor made of them holds them, and so do all views of the tensor."""
        place = 0
        while place < len(self._kept) and self._kept[place][1]() is not None:
            place += 1
        if not size or place == _KEPT:
            return None
        memory = self._kept[place][0] if place < len(self._kept) else None
        if memory is None or len(memory) < size:
            memory = _map(size)
        lease = np.ndarray((size,), np.uint8, memory)
        self._kept[place : place + 1] = [(memory, weakref.ref(lease))]
        return lease


def _map(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= _HUGE:
        with suppress(OSError, AttributeError):  # a kernel, or a system, without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
