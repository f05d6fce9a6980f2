"""One process's part in building one store.

Three things go on at a time: a thread reads the pieces that come next, this one encodes, and some threads write what
was encoded. Blocks are claimed before they are read, and a claim is given back only after the manifest, merged under
the exclusive lock, holds what was written.
"""

import time
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ups_engine.discretisation.arrays import Values
from ups_engine.latents.claims import StoreLock
from ups_engine.latents.encoding import Piece, encode_piece, pieces_of, read_piece
from ups_engine.latents.layout import Block, Packed
from ups_engine.latents.manifest import ABSENT, NAME, Manifest, load_manifest
from ups_engine.latents.store import LatentStore
from ups_engine.latents.target import CacheTarget
from ups_engine.reporting import Count
from ups_engine.runs.atomic import remove_temporaries

_COMMIT_INTERVAL = 1.0  # s between manifests; a kill costs at most this much work
_POLL_INTERVAL = 0.1  # s between looks at blocks that other builders hold
_PIECES_PREFETCHED = 2  # being read or waiting for the encoder
_BLOCKS_BEHIND = 2  # being written
_WRITERS = 2  # making a file takes longer than filling it; more would keep the encoder's thread from Python's lock


@dataclass
class BuildTimes:
    """Seconds of a build in the thread that encodes; reading and writing go on beside it in threads of their own.

    Attributes:
        source: spent waiting for fields to encode.
        encoding: spent encoding, the copies to and from the device included.
        disk: spent waiting for chunks to be written, and recording them.
        others: spent waiting for blocks that other builders hold.
    """

    source: float = 0.0
    encoding: float = 0.0
    disk: float = 0.0
    others: float = 0.0

    @contextmanager
    def count(self, what: str) -> Iterator[None]:
        """Add the block's time to one of the attributes."""
        begin = time.monotonic()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + time.monotonic() - begin)

    @property
    def shares(self) -> dict[str, float]:
        """What share of their sum each took; all zero where nothing was done."""
        total = sum(vars(self).values()) or 1.0
        return {name: seconds / total for name, seconds in vars(self).items()}

    @property
    def bound_by(self) -> str:
        """What took most: `source`, `encoding`, `disk` or `others`."""
        return max(vars(self), key=vars(self).__getitem__)

    def sentence(self) -> str:
        """What bounded the build, a clause without final stop."""
        names = {"source": "reading the source", "encoding": "the encoder", "disk": "the disk", "others": "others"}
        shares = self.shares
        named = ", ".join(f"{names[name]} {share:.0%}" for name, share in shares.items() if name != "others" or share)
        return f"bound by {names[self.bound_by]} ({named} of the time)"


class Builder:
    """Encodes what a store lacks.

    Args:
        target: the cache that is wanted.
        lock: of its store.
        grid: the store's encoding grid.
        manifest: the store's record, true.
        only: positions whose blocks are built; None for all.
        limit: encode at most this many trajectories.
        progress: told (complete, wanted) trajectories of the store.

    Attributes:
        manifest: the store's record as last seen.
        built: trajectories encoded by this builder.
        times: what its time was spent on.
    """

    def __init__(
        self,
        target: CacheTarget,
        lock: StoreLock,
        grid: Block,
        manifest: Manifest,
        *,
        only: Collection[int] | None = None,
        limit: int | None = None,
        progress: Count | None = None,
    ) -> None:
        self._target, self._lock, self._grid, self.manifest = target, lock, grid, manifest
        self.built, self.times = 0, BuildTimes()
        self._store = LatentStore(target.path, target.layout)
        self._stamp = _stamp(target.path)
        every = range(-(-len(target.rows) // grid.rows))
        blocks = every if only is None else np.unique(np.fromiter(only, np.int64) // grid.rows).tolist()
        self._todo = [number for number in blocks if len(self._missing(number))]
        missing = sum(len(self._missing(number)) for number in self._todo)
        self._allowed = missing if limit is None else min(limit, missing)
        self._wanted = manifest.complete + self._allowed
        self._progress = progress or (lambda done, total: None)
        self._claimed = 0  # trajectories of the blocks that were claimed to be encoded
        self._rows: dict[int, NDArray[np.int64]] = {}  # to encode, by claimed block
        self._pieces: deque[Piece] = deque()  # of claimed blocks, not read yet
        self._reading: deque[tuple[Piece, Future[Values]]] = deque()
        self._parts: list[Packed] = []  # encoded, of the block in hand
        self._writing: dict[int, dict[int, Future[int]]] = {}  # checksums to come, by block and row
        self._committed = time.monotonic()

    def run(self) -> None:
        """Build until nothing is missing or the limit is reached.

        Raises:
            As `build_target`, and whatever `progress` raises.
        """
        self._report()
        with ThreadPoolExecutor(1, "latents-source") as source, ThreadPoolExecutor(_WRITERS, "latents-disk") as disk:
            try:
                while self._prefetch(source):
                    if self._reading:
                        self._encode_next(source, disk)
                    else:  # other builders hold all that is left: see to it that they finish it
                        self._commit(all_of_it=True)
                        with self.times.count("others"):
                            time.sleep(_POLL_INTERVAL)
                        self._refresh()
                    self._report()
            finally:
                for _, future in self._reading:
                    future.cancel()
                self._commit(all_of_it=True)
        self._tidy()

    def _missing(self, block: int) -> NDArray[np.int64]:
        """Positions in a block that are not complete."""
        first = block * self._grid.rows
        absent = self.manifest.checksums[first : first + self._grid.rows] == ABSENT
        return first + np.flatnonzero(absent)

    def _prefetch(self, source: ThreadPoolExecutor) -> bool:
        """Have the next pieces read; False once there are none to come, here or at other builders."""
        while len(self._reading) < _PIECES_PREFETCHED and (self._pieces or self._claim()):
            piece = self._pieces.popleft()
            self._reading.append((piece, source.submit(read_piece, self._target, piece)))
        return bool(self._reading) or (bool(self._todo) and self._claimed < self._allowed)

    def _claim(self) -> bool:
        """Claim a block that lacks something, if there is one that nobody else has."""
        for block in list(self._todo):
            if self._claimed >= self._allowed:
                break
            if not self._lock.claim(block):
                continue
            self._todo.remove(block)
            self._refresh()
            rows = self._missing(block)[: self._allowed - self._claimed]
            if len(rows):
                self._claimed += len(rows)
                self._rows[block] = rows
                self._pieces.extend(pieces_of(self._store.layout, self._grid, block))
                return True
            self._lock.unclaim(block)  # another builder has just finished it
        return False

    def _encode_next(self, source: ThreadPoolExecutor, disk: ThreadPoolExecutor) -> None:
        """Encode the piece that was read first, and have its block written if it is the last one."""
        piece, future = self._reading.popleft()
        with self.times.count("source"):
            fields = future.result()
        self._prefetch(source)
        with self.times.count("encoding"):
            self._parts.append(encode_piece(self._target, piece, fields))
        if piece.last:
            packed = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts, axis=1)
            self._parts = []
            rows = self._rows.pop(piece.block).tolist()
            self._writing[piece.block] = {
                row: disk.submit(self._store.write, row, packed[row - piece.first]) for row in rows
            }
            self.built += len(rows)
        self._settle()

    def _settle(self) -> None:
        """Let the writers catch up, and record what they wrote when it is time."""
        unfinished = [writes for writes in self._writing.values() if not all(write.done() for write in writes.values())]
        with self.times.count("disk"):
            for writes in unfinished[:-_BLOCKS_BEHIND]:
                wait(writes.values())
        if time.monotonic() - self._committed > _COMMIT_INTERVAL:
            self._commit(all_of_it=False)

    def _commit(self, *, all_of_it: bool) -> None:
        """Record what was written, then give its blocks back.

        Raises:
            RunError: something could not be written; the rest is recorded nevertheless.
        """
        with self.times.count("disk"):
            finished = {
                block: writes
                for block, writes in self._writing.items()
                if all_of_it or all(write.done() for write in writes.values())
            }
            writes = {row: write for some in finished.values() for row, write in some.items()}
            errors = [error for write in writes.values() if (error := write.exception()) is not None]
            written = {row: write.result() for row, write in writes.items() if write.exception() is None}
            if written:
                self._record(written)
            for block in finished:
                del self._writing[block]
                self._lock.unclaim(block)
            self._committed = time.monotonic()
        if errors:
            raise errors[0]

    def _record(self, written: dict[int, int]) -> None:
        self._target.vouch()
        with self._lock.exclusive():
            self.manifest = self._recorded()
            self.manifest.checksums[list(written)] = list(written.values())
            self.manifest.save(self._target.path)
            self._stamp = _stamp(self._target.path)

    def _refresh(self) -> None:
        """Take in what other builders have recorded since the manifest was last read."""
        stamp = _stamp(self._target.path)
        if stamp != self._stamp:
            self._stamp = stamp
            self.manifest = self._recorded()

    def _recorded(self) -> Manifest:
        """The manifest on disk, or our last sight of it if it is gone."""
        recorded = load_manifest(self._target.path)
        if recorded is None or recorded.fingerprint != self.manifest.fingerprint:
            return self.manifest
        return recorded

    def _tidy(self) -> None:
        """Take in the others' work and remove what a killed writer of the manifest left."""
        with self._lock.exclusive():
            remove_temporaries(self._target.path)
            self._refresh()

    def _report(self) -> None:
        written = sum(len(writes) for writes in self._writing.values())
        self._progress(min(self.manifest.complete + written, self._wanted), self._wanted)


def _stamp(store: Path) -> tuple[int, int]:
    """Changes whenever the manifest is replaced."""
    with suppress(FileNotFoundError):
        status = (store / NAME).stat()
        return status.st_ino, status.st_mtime_ns
    return 0, 0
