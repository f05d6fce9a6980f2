"""Frames that are zero throughout where others are not: what a writer left behind that reserved space and stopped."""

import numpy as np

from ups_engine.data.sources.base import Source
from ups_engine.discretisation.arrays import Int64, Values


class ZeroFrames:
    """Notes, over many reads, which frames are zero in all channels at all points read."""

    def __init__(self) -> None:
        self._zero: dict[int, set[int]] = {}
        self._others = False

    def note(self, rows: Int64, frames: Int64, values: Values) -> None:
        """Look at values (n, T', *space, C) of trajectories (n,) and of their stored frames (n, T') or (T',)."""
        filled = values.any(axis=tuple(range(2, values.ndim)))  # (n, T')
        self._others |= bool(filled.any())
        stored = np.broadcast_to(frames, filled.shape)
        for which, when in np.argwhere(~filled).tolist():
            self._zero.setdefault(int(rows[which]), set()).add(int(stored[which, when]))

    def notice(self, source: Source) -> str | None:
        """A sentence with file, trajectory and count; None where no frame is zero, or all are."""
        if not self._zero or not self._others:
            return None
        first = min(self._zero)
        path, number = source.locate(first)
        count = len(self._zero[first])
        more = f", and of {len(self._zero) - 1} more trajectories" if len(self._zero) > 1 else ""
        return (
            f"{path}: {count} frame{'s' * (count > 1)} of trajectory {number}{more} zero throughout, others are not:"
            " were they written? Leave out what is not data with data.exclude"
        )
