"""Encoding what a store lacks.

A build may be stopped, killed, resumed, and shared by any number of processes; the store ends with the same bytes.
The encoding grid is fixed by the store (`layout.Block`), each block is claimed by one builder (`locks`), and a claim
is given back only after the manifest, merged under an exclusive lock, holds what was written.
"""

import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.errors import CacheError
from ups_engine.latents.creation import create_store, restore_files
from ups_engine.latents.examine import Examination, examine
from ups_engine.latents.in_use import InUse
from ups_engine.latents.layout import Packed, pack
from ups_engine.latents.locks import StoreLock
from ups_engine.latents.manifest import ABSENT, Manifest, load_manifest
from ups_engine.latents.store import LatentStore
from ups_engine.latents.target import CacheTarget
from ups_engine.runs.atomic import remove_temporaries
from ups_engine.telemetry.units import human_bytes

_COMMIT_INTERVAL = 1.0  # s between manifests; a kill costs at most this much work
_POLL_INTERVAL = 0.1  # s between looks at blocks that other builders hold
_SPARE_BYTES = 16 << 20  # left free on the disk
_DISK_PAGE = 4096

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BuildResult:
    """How a build ended.

    Attributes:
        samples: trajectories of the store.
        complete: trajectories that are complete now, whoever encoded them.
        built: trajectories that this call encoded.
        stopped: whether `stop` ended it early.
    """

    samples: int
    complete: int
    built: int
    stopped: bool


def build_target(
    target: CacheTarget,
    *,
    rows: Collection[int] = (),
    limit: int | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> BuildResult:
    """Encode every trajectory of a target that is not complete, in order.

    Returns at once when all are. A store of another fingerprint or with damaged metadata is replaced.

    Args:
        target: the cache that is wanted.
        rows: positions to encode again although they pass the quick examination, because a reader found them bad.
        limit: encode at most this many trajectories.
        progress: told (complete, wanted) trajectories of the store, at the start and after each block.
        stop: asked between blocks; once it says yes, what was encoded is recorded and the build returns.
        warn: told in a sentence about damage that is mended.

    Raises:
        CacheError: the disk has too little space, the file system has no locks, or the encoder gives non-finite
            latents; what was complete stays so.
        RunError: the disk filled up or refuses a write.
        DataError: the source cannot be read.
    """
    seen = examine(target)
    if seen.complete and not rows:
        if progress is not None:
            progress(len(seen.states), len(seen.states))
        return BuildResult(len(seen.states), len(seen.states), 0, stopped=False)
    if seen.damaged:
        warn(f"{target.split} cache: {'; '.join(seen.findings)}; encoding again")
    with InUse(target.path), StoreLock(target.path) as lock:
        with lock.exclusive():
            seen = _prepare(target, rows)
        return _Builder(target, lock, seen, limit, progress).run(stop or (lambda: False))


def _prepare(target: CacheTarget, rows: Collection[int]) -> Examination:
    """Make the store usable and its manifest true: what is stale, corrupt or condemned is struck from it."""
    seen = examine(target)
    seen.manifest.checksums[list(rows)] = ABSENT
    _require_space(target, seen)
    if not seen.usable:
        create_store(target.path, target.layout, target.fingerprint, seen.block, target.rows, target.conditions)
        return examine(target)
    remove_temporaries(target.path)
    if seen.altered:
        files = restore_files(
            target.path, target.layout, target.fingerprint, seen.block, target.rows, target.conditions
        )
        seen = replace(seen, manifest=replace(seen.manifest, files=files), altered=())
    recorded = load_manifest(target.path)
    if (
        recorded is None
        or recorded.fingerprint != target.fingerprint.digest
        or recorded.files != seen.manifest.files
        or not np.array_equal(recorded.checksums, seen.manifest.checksums)
    ):
        seen.manifest.save(target.path)
    return seen


def _require_space(target: CacheTarget, seen: Examination) -> None:
    chunk = -(-target.layout.chunk_bytes // _DISK_PAGE) * _DISK_PAGE
    needed = (len(target.rows) - seen.manifest.complete) * chunk + _SPARE_BYTES
    folder = target.path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free + (0 if seen.usable else seen.bytes_on_disk)  # what is replaced goes first
    if free < needed:
        raise CacheError(
            f"the {target.split} cache needs {human_bytes(needed)} in {target.path.parent},"
            f" of which {human_bytes(needed - free)} are missing",
            "free some space, set latent.cache_dir to another disk, or latent.cache_dtype to a shorter format",
        )


class _Builder:
    """One process's part in building one store."""

    def __init__(
        self, target: CacheTarget, lock: StoreLock, seen: Examination, limit: int | None, progress: Progress | None
    ) -> None:
        self._target = target
        self._store = LatentStore(target.path, target.layout)
        self._lock = lock
        self._block = seen.block
        self._manifest = seen.manifest
        self._stamp = _stamp(target.path)
        self._pending: dict[int, int] = {}  # checksums that the manifest does not hold yet, by row
        self._claims: list[int] = []
        self._committed = time.monotonic()
        self._built = 0
        missing = len(target.rows) - seen.manifest.complete
        self._allowed = missing if limit is None else min(limit, missing)
        self._wanted = seen.manifest.complete + self._allowed
        self._progress = progress or (lambda done, total: None)

    def run(self, stop: Callable[[], bool]) -> BuildResult:
        blocks = range(-(-len(self._target.rows) // self._block.rows))
        todo = [block for block in blocks if len(self._missing(block))]
        stopped = False
        self._report()
        try:
            while todo and self._built < self._allowed and not stopped:
                mine = next((block for block in todo if self._lock.claim(block)), None)
                if mine is None:  # other builders hold all that is left: see to it that they finish it
                    self._commit()
                    time.sleep(_POLL_INTERVAL)
                else:
                    self._claims.append(mine)
                    todo.remove(mine)
                    self._refresh()
                    self._encode(self._missing(mine)[: self._allowed - self._built], mine)
                self._report()
                stopped = stop()
        finally:
            self._commit()
        self._tidy()
        return BuildResult(len(self._target.rows), self._manifest.complete, self._built, stopped)

    def _missing(self, block: int) -> NDArray[np.int64]:
        """Positions in a block that are not complete."""
        first = block * self._block.rows
        absent = self._manifest.checksums[first : first + self._block.rows] == ABSENT
        return first + np.flatnonzero(absent)

    def _encode(self, rows: NDArray[np.int64], block: int) -> None:
        """Encode a block and store some of its rows."""
        if len(rows):
            first = block * self._block.rows
            packed = self._latents(first, min(first + self._block.rows, len(self._target.rows)))
            for row in rows.tolist():
                self._pending[row] = self._store.write(row, packed[row - first])
            self._built += len(rows)
        if time.monotonic() - self._committed > _COMMIT_INTERVAL or not len(rows):
            self._commit()

    def _latents(self, first: int, end: int) -> Packed:
        """Packed latents (end - first, frames, tokens, dim) of a whole block."""
        layout, sources = self._store.layout, self._target.rows[first:end]
        parts = []
        for start in range(0, layout.frames, self._block.frames):
            frames = np.arange(start, min(start + self._block.frames, layout.frames), dtype=np.int64)
            latents = self._target.encode(self._target.read(sources, frames))
            expected = (end - first, len(frames), layout.tokens, layout.dim)
            if tuple(latents.shape) != expected:
                raise CacheError(f"the encoder gives latents of shape {tuple(latents.shape)} where {expected} are due")
            packed = pack(latents, layout.dtype)
            self._require_finite(latents, packed, sources, frames)
            parts.append(packed)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _require_finite(
        self, latents: torch.Tensor, packed: Packed, sources: NDArray[np.int64], frames: NDArray[np.int64]
    ) -> None:
        bad = ~torch.isfinite(latents.detach()).flatten(2).all(-1).cpu().numpy()
        if bad.any():
            row, frame = np.argwhere(bad)[0]
            raise CacheError(
                f"the encoder gives non-finite latents for trajectory {sources[row]}, frame {frames[frame]}"
                f" of the {self._target.split} split",
                "its weights are damaged or diverged: train the autoencoder stage again",
            )
        if packed.dtype == np.float16 and not np.isfinite(packed).all():
            raise CacheError(
                f"latents of the {self._target.split} split reach {float(latents.abs().max()):.3g},"
                " beyond what float16 holds",
                "use --set latent.cache_dtype=bfloat16, or float32",
            )

    def _refresh(self) -> None:
        """Take in what other builders have recorded since the manifest was last read."""
        stamp = _stamp(self._target.path)
        if stamp != self._stamp:
            self._stamp = stamp
            self._manifest = self._recorded()

    def _recorded(self) -> Manifest:
        """The manifest on disk, or our last sight of it if it is gone."""
        recorded = load_manifest(self._target.path)
        if recorded is None or recorded.fingerprint != self._manifest.fingerprint:
            return self._manifest
        return recorded

    def _commit(self) -> None:
        """Record what was written, then give its blocks back."""
        if self._pending:
            with self._lock.exclusive():
                self._manifest = self._recorded()
                self._manifest.checksums[list(self._pending)] = list(self._pending.values())
                self._manifest.save(self._target.path)
                self._stamp = _stamp(self._target.path)
            self._pending.clear()
        for block in self._claims:
            self._lock.release(block)
        self._claims.clear()
        self._committed = time.monotonic()

    def _tidy(self) -> None:
        """Take in the others' work and remove what a killed writer of the manifest left."""
        with self._lock.exclusive():
            remove_temporaries(self._target.path)
            self._refresh()

    def _report(self) -> None:
        self._progress(min(self._manifest.complete + len(self._pending), self._wanted), self._wanted)


def _stamp(store: Path) -> tuple[int, int]:
    """Changes whenever the manifest is replaced."""
    try:
        status = (store / "manifest.json").stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns
