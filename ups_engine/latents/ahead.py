"""Batches one ahead: while one is trained on, the next is gathered and, for a GPU, on its way there.

What a batch holds is a pure function of its numbers, so nothing here changes a bit, nor has a state to resume.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray


class Source(Protocol):
    """What gathers; `readers.HostLatents` does."""

    device: torch.device

    def gather(self, rows: NDArray[np.int64], frames: NDArray[np.int64], horizon: int) -> torch.Tensor:
        """See `LatentReader.gather`."""

    def gather_ahead(self, rows: NDArray[np.int64], frames: NDArray[np.int64], horizon: int) -> torch.Tensor:
        """The same, but raises where something would have to be mended."""


class Ahead:
    """A sequence of samples, taken in batches.

    The next batch is expected to go on where one ended, with as many samples and the same horizon. Whatever is taken
    instead is gathered then and there. An error met while working ahead is left for the batch to be taken, where
    gathering again mends or raises it in the caller's thread.

    Args:
        source: gathers.
        rows: of each sample, (n,).
        frames: first frames, (n,).
        worker: a single thread.
    """

    def __init__(
        self, source: Source, rows: NDArray[np.int64], frames: NDArray[np.int64], worker: ThreadPoolExecutor
    ) -> None:
        self._source, self._rows, self._frames, self._worker = source, rows, frames, worker
        self._stream = torch.cuda.Stream(source.device) if source.device.type == "cuda" else None
        self._next: tuple[tuple[int, int, int], Future[torch.Tensor]] | None = None

    def take(self, first: int, count: int, horizon: int) -> torch.Tensor:
        """Latents of samples `first` to `first + count`, see `LatentReader.gather`."""
        batch = self._made((first, count, horizon))
        if batch is None:
            part = slice(first, first + count)
            batch = self._source.gather(self._rows[part], self._frames[part], horizon)
        following = min(count, len(self._rows) - first - count)
        if following > 0:
            expected = (first + count, following, horizon)
            self._next = expected, self._worker.submit(self._make, *expected)
        return batch

    def _made(self, wanted: tuple[int, int, int]) -> torch.Tensor | None:
        """The batch that was made ahead, if it is the wanted one and nothing went wrong."""
        if self._next is None:
            return None
        (expected, future), self._next = self._next, None
        if future.exception() is not None or expected != wanted:
            return None
        batch = future.result()
        if self._stream is not None:
            current = torch.cuda.current_stream(self._source.device)
            current.wait_stream(self._stream)
            batch.record_stream(current)
        return batch

    def _make(self, first: int, count: int, horizon: int) -> torch.Tensor:
        part = slice(first, first + count)
        with torch.cuda.stream(self._stream):
            return self._source.gather_ahead(self._rows[part], self._frames[part], horizon)
