"""Several files that hold trajectories of one kind, read as one source."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from os.path import commonprefix
from pathlib import Path

import numpy as np

from ups_engine.data.sources.base import Part, Source
from ups_engine.data.sources.gap import Gap
from ups_engine.data.sources.info import FieldSpec, SourceInfo
from ups_engine.discretisation.arrays import Float64, Int64, Values
from ups_engine.errors import DataError

_OPEN_FILES = 32


class ShardedSource(Source):
    """Shards one after the other: trajectory numbers count over all of them in order.

    Args:
        shards: at least one, alike in fields, grid, frames, time step and kinds of parameters; the parameters' values
            may differ from shard to shard.

    Raises:
        DataError: lists the tasks where there are several; else names the first shard that does not go with the first
            one, and what differs.
    """

    def __init__(self, shards: Sequence[Source]) -> None:
        self.shards = tuple(shards)
        first = self.shards[0].info
        _check_one_task([shard.info for shard in self.shards])
        for shard in self.shards[1:]:
            _check_alike(first, shard.info)
        self._starts = np.cumsum([0, *(shard.info.trajectories for shard in self.shards)])
        splits = {shard.info.split for shard in self.shards}
        starts = self._starts[:-1].tolist()
        # asked for at every read, and of a thousand shards hardly one lacks anything
        self._gappy = [(start, shard) for start, shard in zip(starts, self.shards, strict=True) if shard.gaps()]
        self._recent: OrderedDict[int, None] = OrderedDict()
        self.info = replace(
            first,
            fields=tuple(map(_together, *(shard.info.fields for shard in self.shards))),
            trajectories=int(self._starts[-1]),
            bytes=sum(shard.info.bytes for shard in self.shards),
            files=tuple(path for shard in self.shards for path in shard.info.files),
            split=first.split if len(splits) == 1 else None,
            notes=tuple(dict.fromkeys(note for shard in self.shards for note in shard.info.notes)),
        )
        for number in range(len(self.shards)):
            self._note_use(number)

    def read_span(self, trajectory: int, start: int, stop: int, fields: tuple[str, ...]) -> Values:
        """See `Source.read_span`."""
        shard, row = self._shard(trajectory)
        return shard.read_span(row, start, stop, fields)

    def head(self, trajectory: int, frame: int = 0) -> bytes:
        """See `Source.head`."""
        shard, row = self._shard(trajectory)
        return shard.head(row, frame)

    def gaps(self, fields: Sequence[str] = ()) -> tuple[Gap, ...]:
        """See `Source.gaps`."""
        return tuple(
            replace(gap, trajectories=frozenset(start + row for row in gap.trajectories))
            for start, shard in self._gappy
            for gap in shard.gaps(fields)
        )

    def frame_gap(self, trajectory: int) -> int:
        """See `Source.frame_gap`."""
        shard, row = self._shard(trajectory)
        return shard.frame_gap(row)

    def parameters(self, trajectories: Sequence[int] | Int64) -> Float64:
        """See `Source.parameters`."""
        rows = np.asarray(trajectories, dtype=np.int64)
        out = np.empty((len(rows), len(self.info.parameters)))
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owners).tolist():
            mine = owners == number
            out[mine] = self.shards[number].parameters(rows[mine] - self._starts[number])
        return out

    def holders(self) -> tuple[Path, ...]:
        """See `Source.holders`."""
        return tuple(dict.fromkeys(path for shard in self.shards for path in shard.holders()))

    def rows_at(self, file: Path, places: Sequence[range]) -> set[int]:
        """See `Source.rows_at`."""
        starts = zip(self._starts[:-1].tolist(), self.shards, strict=True)
        return {start + row for start, shard in starts for row in shard.rows_at(file, places)}

    def parts(self) -> tuple[Part, ...]:
        """See `Source.parts`."""
        return tuple(
            Part(int(start), int(stop), shard.info.split, shard.info.files[0])
            for shard, start, stop in zip(self.shards, self._starts[:-1], self._starts[1:], strict=True)
        )

    def close(self) -> None:
        """See `Source.close`."""
        for shard in self.shards:
            shard.close()

    def _shard(self, trajectory: int) -> tuple[Source, int]:
        number = int(np.searchsorted(self._starts, trajectory, side="right")) - 1
        self._note_use(number)
        return self.shards[number], trajectory - int(self._starts[number])

    def _note_use(self, number: int) -> None:
        """Keep a bounded number of files open, the most recently used ones."""
        self._recent[number] = None
        self._recent.move_to_end(number)
        if len(self._recent) > _OPEN_FILES:
            self.shards[self._recent.popitem(last=False)[0]].close()


def _together(*specs: FieldSpec) -> FieldSpec:
    """A field of all shards, in a number format that holds what each of them stores."""
    return replace(specs[0], dtype=str(np.result_type(*(np.dtype(spec.dtype) for spec in specs))))


def _check_alike(first: SourceInfo, other: SourceInfo) -> None:
    """Refuse a shard whose numbers cannot stand beside the first one's."""
    if difference := next(_differences(first, other), None):
        what, ours, theirs = difference
        raise DataError(
            f"{other.files[0].name} does not go with {first.files[0].name}: {what} {theirs} against {ours}",
            "put files of one kind into a folder of their own, or choose them by a pattern:"
            " --data 'folder/1D_Burgers*'",
        )


def _check_one_task(shards: Sequence[SourceInfo]) -> None:
    """Make sure that all files are of the same PDE: none of them is ever dropped without a word.

    Raises:
        DataError: says which tasks were found in which files, and how to choose.
    """
    found: dict[str | None, list[str]] = {}
    for shard in shards:
        found.setdefault(shard.task, []).extend(path.name for path in shard.files)
    if len(found) == 1:
        return
    listed = [
        f"{task or 'no stated task'} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
        for task, names in found.items()
    ]
    folder = shards[0].files[0].parent
    names = next(names for task, names in found.items() if task)
    shared = commonprefix(names)  # noqa: RUF071 - of bare names, letter by letter
    pattern = shared + ("*" if len(names) > 1 else "")
    raise DataError(
        f"files of different tasks in {folder}: {', '.join(listed)}",
        f"choose the files of one task by a pattern, such as --data '{folder / pattern}', or give them a folder of"
        " their own",
    )


def _differences(first: SourceInfo, other: SourceInfo) -> Iterator[tuple[str, object, object]]:
    """What differs: in words, in the first one, in the other."""
    pairs: list[tuple[str, object, object]] = [
        ("format", first.format, other.format),
        ("fields", [(f.name, f.channels) for f in first.fields], [(f.name, f.channels) for f in other.fields]),
        ("resolution", first.resolution, other.resolution),
        ("frames", first.frames, other.frames),
        ("boundaries", [b.kind for b in first.boundaries], [b.kind for b in other.boundaries]),
        ("PDE parameters", first.parameters, other.parameters),
    ]
    yield from (pair for pair in pairs if pair[1] != pair[2])
    if (first.dt is None) != (other.dt is None) or not _same_axis(first.time, other.time):
        yield "time step", first.dt, other.dt
    for ours, theirs in zip(first.coordinates, other.coordinates, strict=True):
        if not _same_axis(ours, theirs):
            yield "coordinates", (ours[0], ours[-1]), (theirs[0], theirs[-1])


def _same_axis(ours: Float64, theirs: Float64) -> bool:
    """Whether two axes agree to the rounding of float32, whatever their unit."""
    extent = float(np.abs(ours).max(initial=0.0))
    return bool(np.allclose(ours, theirs, rtol=0.0, atol=1e-5 * extent))
