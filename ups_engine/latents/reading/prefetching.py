"""Batches ahead: while one is trained on, the next are gathered and, for a GPU, on their way there.

What a batch holds is a pure function of its numbers, so nothing here changes a bit, nor has a state to resume.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Wanted: TypeAlias = tuple[int, int, int]
"""First sample, number of samples, horizon."""
Made: TypeAlias = tuple[torch.Tensor, torch.cuda.Event | None]
"""A batch, and when it is on the GPU."""

_DEPTH = 2  # with one alone, the time in which two threads wake each other would be spent on every batch


class Source(Protocol):
    """What gathers; `readers.HostLatents` does."""

    device: torch.device

    def gather(self, rows: NDArray[np.int64], frames: NDArray[np.int64], horizon: int) -> torch.Tensor:
        """See `LatentReader.gather`."""

    def gather_ahead(self, rows: NDArray[np.int64], frames: NDArray[np.int64], horizon: int) -> torch.Tensor:
        """The same, but raises where something would have to be mended."""


class Ahead:
    """A sequence of samples, taken in batches.

    Batches are expected to go on where one ended, with as many samples and the same horizon. Whatever is taken
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
        self._coming: deque[tuple[Wanted, Future[Made]]] = deque()

    def take(self, first: int, count: int, horizon: int) -> torch.Tensor:
        """Latents of samples `first` to `first + count`, see `LatentReader.gather`."""
        batch = self._made((first, count, horizon))
        if batch is None:
            part = slice(first, first + count)
            batch = self._source.gather(self._rows[part], self._frames[part], horizon)
        end = first + count * (1 + len(self._coming))
        while len(self._coming) < _DEPTH and end < len(self._rows):
            expected = (end, min(count, len(self._rows) - end), horizon)
            self._coming.append((expected, self._worker.submit(self._make, *expected)))
            end += count
        return batch

    def _made(self, wanted: Wanted) -> torch.Tensor | None:
        """The batch that was made ahead, if it is the wanted one and nothing went wrong."""
        if self._coming and self._coming[0][0] == wanted:
            future = self._coming.popleft()[1]
            if future.exception() is None:
                batch, arrived = future.result()
                if arrived is not None:
                    current = torch.cuda.current_stream(self._source.device)
                    current.wait_event(arrived)
                    batch.record_stream(current)
                return batch
        for _, future in self._coming:
            future.cancel()
        wait([future for _, future in self._coming])
        self._coming.clear()
        return None

    def _make(self, first: int, count: int, horizon: int) -> Made:
        part = slice(first, first + count)
        with torch.cuda.stream(self._stream):
            batch = self._source.gather_ahead(self._rows[part], self._frames[part], horizon)
        return batch, None if self._stream is None else self._stream.record_event()
