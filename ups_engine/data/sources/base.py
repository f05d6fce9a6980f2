"""What every file format offers: a description that costs nothing, and lazy reads of a few frames.

A format implements `read_span`, contiguous frames of one trajectory, and says what is cheap for it; `Source.read`
makes of it any selection of trajectories, frames, fields and grid points.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ups_engine.config.data import exclusion
from ups_engine.data.sources.gap import Gap
from ups_engine.data.sources.info import SourceInfo
from ups_engine.discretisation.arrays import Float64, Int64, Values, values_format
from ups_engine.discretisation.sample import Sample
from ups_engine.errors import DataError

_LISTED_GAPS = 100


@dataclass(frozen=True)
class Part:
    """Consecutive trajectories [start, stop) of a source that lie in one file."""

    start: int
    stop: int
    split: str | None
    file: Path


class Source(ABC):
    """Trajectories of one data set, read when asked for.

    Handles are opened at the first read in each process and may be closed at any time; sources can be pickled.
    """

    info: SourceInfo

    @abstractmethod
    def read_span(self, trajectory: int, start: int, stop: int, fields: tuple[str, ...]) -> Values:
        """Frames [start, stop) of a trajectory, (stop - start, *space, channels of `fields`), physical units."""

    @abstractmethod
    def head(self, trajectory: int, frame: int = 0) -> bytes:
        """Bytes of the beginning of a frame, at most about 64 KiB; equal for equal frames."""

    @abstractmethod
    def parameters(self, trajectories: Sequence[int] | Int64) -> Float64:
        """(n, P) parameters of the PDE, columns as in `info.parameters`."""

    @abstractmethod
    def holders(self) -> tuple[Path, ...]:
        """All files that values are read from: those opened, and what they point to."""

    @abstractmethod
    def rows_at(self, file: Path, places: Sequence[range]) -> set[int]:
        """Trajectories of which some values lie in these bytes of a file, as far as the file says where they lie."""

    @abstractmethod
    def close(self) -> None:
        """Close file handles; the next read opens them again."""

    @abstractmethod
    def frame_gap(self, trajectory: int) -> int:
        """Unwanted frames between two wanted ones that are cheaper read through than skipped."""

    @abstractmethod
    def gaps(self, fields: Sequence[str] = ()) -> tuple[Gap, ...]:
        """What is absent of these fields, all for no names; known since opening."""

    def require_present(self, rows: Iterable[int], fields: Sequence[str], excluded: Iterable[int] = ()) -> None:
        """Make sure that the files hold all values of these trajectories and fields.

        Args:
            rows: trajectories that are used.
            fields: their names; all for none.
            excluded: trajectories left out already, for the advice.

        Raises:
            DataError: they do not; says file, trajectories and what is absent.
        """
        if not (gaps := self.gaps(fields)):
            return
        wanted = {int(row) for row in rows}
        lacking = sorted(wanted & {row for gap in gaps for row in gap.trajectories})
        if not lacking:
            return
        gap = next(gap for gap in gaps if lacking[0] in gap.trajectories)
        path, number = self.locate(lacking[0])
        others = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        mended = f"put {gap.files[0]} where it belongs" if gap.files else "write or copy the file anew"
        if len(lacking) < len(wanted) and len(lacking) <= _LISTED_GAPS:
            mended += f", or leave out what lacks values with {exclusion(lacking, excluded)}"
        raise DataError(
            f"{path} lacks values of trajectory {number}{others} (of {len(wanted)}): {gap.reason}",
            mended,
        )

    def parts(self) -> tuple[Part, ...]:
        """The files behind the trajectories, in order."""
        return (Part(0, self.info.trajectories, self.info.split, self.info.files[0]),)

    def locate(self, trajectory: int) -> tuple[Path, int]:
        """The file of a trajectory and its number within that file, for messages."""
        part = next(part for part in self.parts() if trajectory < part.stop)
        return part.file, trajectory - part.start

    def read(
        self,
        trajectories: Sequence[int] | Int64,
        frames: slice | Sequence[int] | Int64 | None = None,
        fields: Sequence[str] = (),
        *,
        spatial_stride: int = 1,
    ) -> Values:
        """Read a selection, holding no more than it and one trajectory's frames in memory.

        Args:
            trajectories: (n,) numbers, in any order, repeated or not.
            frames: None for all, a slice, (T',) numbers for all trajectories, or (n, T') for each its own.
            fields: names in the order of the channels; empty for all.
            spatial_stride: every n-th point along each axis.

        Returns:
            (n, T', *space, C) in physical units, of `values_format`. Frames close together are read as one piece.

        Raises:
            DataError: the file cannot be read there.
            IndexError: a trajectory or frame that does not exist.
        """
        rows = np.asarray(trajectories, dtype=np.int64)
        wanted = self._frame_table(frames, len(rows))  # (n, T')
        if rows.size and not (rows.min() >= 0 and rows.max() < self.info.trajectories):
            raise IndexError(f"trajectories {rows.min()} to {rows.max()} of {self.info.trajectories}")
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < self.info.frames):
            raise IndexError(f"frames {wanted.min()} to {wanted.max()} of {self.info.frames}")
        specs = self.info.field_specs(fields)
        names = tuple(spec.name for spec in specs)
        self.require_present(rows.tolist(), names)
        thinned = (slice(None, None, spatial_stride),) * len(self.info.resolution)
        space = tuple(-(-points // spatial_stride) for points in self.info.resolution)
        shape = (*wanted.shape, *space, sum(spec.channels for spec in specs))
        out = np.empty(shape, values_format(spec.dtype for spec in specs))
        for row, places in _grouped(rows):
            asked = wanted[places]  # (k, T')
            for start, stop in spans(np.unique(asked), self.frame_gap(row)):
                block = self.read_span(row, start, stop, names)[(slice(None), *thinned)]
                inside = (asked >= start) & (asked < stop)
                if inside.all() and len(places) == 1:
                    out[places[0]] = block[asked[0] - start]
                else:
                    which, when = np.nonzero(inside)
                    out[places[which], when] = block[asked[which, when] - start]
        return out

    def sample(self, trajectory: int, frame: int) -> Sample:
        """One frame of one trajectory as a `Sample`."""
        info = self.info
        params = dict(zip(info.parameters, self.parameters([trajectory])[0].tolist(), strict=True))
        return replace(
            info.layout(self.read([trajectory], [frame])[0, 0]),
            params=params,
            time=float(info.time[frame]),
            dt=info.dt,
        )

    def _frame_table(self, frames: slice | Sequence[int] | Int64 | None, rows: int) -> Int64:
        """Frame numbers (n, T') of every trajectory of a request."""
        if frames is None:
            frames = slice(None)
        if isinstance(frames, slice):
            chosen: Int64 = np.arange(self.info.frames, dtype=np.int64)[frames]
        else:
            chosen = np.asarray(frames, dtype=np.int64)
        if chosen.ndim == 1:
            return np.broadcast_to(chosen, (rows, len(chosen)))
        if chosen.ndim != 2 or len(chosen) != rows:
            raise IndexError(f"frames of shape {chosen.shape} for {rows} trajectories; expected (T,) or ({rows}, T)")
        return chosen


def _grouped(rows: Int64) -> Iterator[tuple[int, Int64]]:
    """Every distinct trajectory in file order, with its places in the request."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    edges = np.append(np.flatnonzero(np.diff(ordered, prepend=-1)), len(rows))
    for start, stop in pairwise(edges):
        yield int(ordered[start]), order[start:stop]


def spans(frames: Int64, gap: int) -> Iterator[tuple[int, int]]:
    """Ranges [start, stop) that cover sorted frames, closing gaps of up to `gap` unwanted frames."""
    if not frames.size:
        return
    breaks = np.flatnonzero(np.diff(frames) - 1 > gap) + 1
    for piece in np.split(frames, breaks):
        yield int(piece[0]), int(piece[-1]) + 1
