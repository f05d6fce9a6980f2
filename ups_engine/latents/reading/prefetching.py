"""Batches of an announced sequence of samples, taken by position: gathered when taken, or prefetched.

Prefetched, the next are gathered, and for a GPU on their way there, while one is trained on. What a batch holds is a
pure function of its numbers, so nothing here changes a bit, nor has a state to resume.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Index: TypeAlias = NDArray[np.int64] | torch.Tensor
Gather: TypeAlias = Callable[[Index, Index, int], torch.Tensor]
"""As `LatentReader.gather`."""
_Wanted: TypeAlias = tuple[int, int, int]  # first sample, number of samples, horizon
_Fetched: TypeAlias = tuple[torch.Tensor, torch.cuda.Event | None]  # a batch, and when it is on the GPU

_DEPTH = 2  # with one alone, the time in which two threads wake each other would be spent on every batch


class LatentSequence:
    """The latents of n samples in a given order, gathered when they are taken.

    Args:
        gather: a reader's.
        rows: of each sample, (n,), where the reader wants its indices.
        frames: first frames, (n,), likewise.
    """

    def __init__(self, gather: Gather, rows: Index, frames: Index) -> None:
        self._gather, self._rows, self._frames = gather, rows, frames

    def take(self, first: int, count: int, horizon: int) -> torch.Tensor:
        """Samples `first` to `first + count` -> (count, 1 + horizon, tokens, dim), see `LatentReader.gather`."""
        part = slice(first, first + count)
        return self._gather(self._rows[part], self._frames[part], horizon)


class PrefetchedSequence(LatentSequence):
    """A sequence whose batches are gathered ahead of being taken.

    They are expected to go on where one ended, with as many samples and the same horizon. Whatever is taken instead
    is gathered then and there. An error met while prefetching is left for the batch to be taken, where gathering again
    mends or raises it in the caller's thread.

    Args:
        gather: for what was not prefetched.
        prefetch: the same for another thread; raises where something would have to be mended.
        device: where both deliver.
        rows: of each sample, (n,).
        frames: first frames, (n,).
        worker: a single thread.
    """

    def __init__(
        self,
        gather: Gather,
        prefetch: Gather,
        device: torch.device,
        rows: NDArray[np.int64],
        frames: NDArray[np.int64],
        worker: ThreadPoolExecutor,
    ) -> None:
        super().__init__(gather, rows, frames)
        self._prefetch, self._device, self._worker = prefetch, device, worker
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._coming: deque[tuple[_Wanted, Future[_Fetched]]] = deque()

    def take(self, first: int, count: int, horizon: int) -> torch.Tensor:
        """See `LatentSequence.take`."""
        batch = self._fetched((first, count, horizon))
        if batch is None:
            batch = super().take(first, count, horizon)
        end = first + count * (1 + len(self._coming))
        while len(self._coming) < _DEPTH and end < len(self._rows):
            expected = (end, min(count, len(self._rows) - end), horizon)
            self._coming.append((expected, self._worker.submit(self._fetch, *expected)))
            end += count
        return batch

    def _fetched(self, wanted: _Wanted) -> torch.Tensor | None:
        """The batch that was prefetched, if it is the wanted one and nothing went wrong."""
        if self._coming and self._coming[0][0] == wanted:
            future = self._coming.popleft()[1]
            if future.exception() is None:
                batch, arrived = future.result()
                if arrived is not None:
                    current = torch.cuda.current_stream(self._device)
                    current.wait_event(arrived)
                    batch.record_stream(current)
                return batch
        for _, future in self._coming:
            future.cancel()
        wait([future for _, future in self._coming])
        self._coming.clear()
        return None

    def _fetch(self, first: int, count: int, horizon: int) -> _Fetched:
        part = slice(first, first + count)
        with torch.cuda.stream(self._stream):
            batch = self._prefetch(self._rows[part], self._frames[part], horizon)
        return batch, None if self._stream is None else self._stream.record_event()
