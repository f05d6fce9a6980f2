"""Encoding what a store lacks.

A build may be stopped, killed, resumed, and shared by any number of processes; the store ends with the same bytes.
The encoding grid is fixed by the store (`layout.Block`), each block is claimed by one builder (`claims`), and nothing
counts that the manifest does not hold. `builder` does the work, here is what it is asked for.
"""

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ups_engine.errors import CacheError
from ups_engine.latents.building.builder import Builder, BuildTimes
from ups_engine.latents.building.creation import create_store, restore_files
from ups_engine.latents.checking.examine import Examination, examine, name_rows
from ups_engine.latents.claims import StoreClaim, StoreLock
from ups_engine.latents.manifest import ABSENT, load_manifest
from ups_engine.latents.target import CacheTarget
from ups_engine.reporting import Count, Tell
from ups_engine.runs.atomic import remove_temporaries
from ups_engine.telemetry.units import human_bytes

_SPARE_BYTES = 16 << 20  # left free on the disk
_DISK_PAGE = 4096


@dataclass(frozen=True)
class BuildResult:
    """How a build ended.

    Attributes:
        complete: trajectories that are complete now, whoever encoded them.
        built: trajectories that this call encoded.
        times: what the time was spent on.
    """

    complete: int
    built: int
    times: BuildTimes = field(default_factory=BuildTimes, compare=False)


def build_target(
    target: CacheTarget,
    *,
    rows: Collection[int] = (),
    limit: int | None = None,
    progress: Count | None = None,
    warn: Tell = lambda sentence: None,
) -> BuildResult:
    """Encode every trajectory of a target that is not complete, in order.

    Returns at once when all are. A store of another fingerprint or with damaged metadata is replaced.

    Args:
        target: the cache that is wanted.
        rows: positions to encode again although they pass the quick examination, because a reader found them bad.
        limit: encode at most this many trajectories.
        progress: told (complete, wanted) trajectories of the store, at the start and after each block, or piece of a
            large one; where it raises, what was encoded is recorded first.
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
        return BuildResult(len(seen.states), 0)
    if seen.damaged:
        warn(f"{target.split} cache: {'; '.join(seen.findings)}; encoding again")
    with StoreClaim(target.path), StoreLock(target.path) as lock:
        with lock.exclusive():
            seen = _prepare(target, rows, limit)
        builder = Builder(target, lock, seen.block, seen.manifest, limit=limit, progress=progress)
        builder.run()
    return BuildResult(builder.manifest.complete, builder.built, builder.times)


def prepare_target(target: CacheTarget, warn: Tell = lambda sentence: None) -> Examination:
    """Make a target's store ready to be completed bit by bit, by a `Completion`; nothing is encoded.

    Args:
        target: the cache that is wanted.
        warn: told in a sentence about damage that will be mended.

    Raises:
        CacheError: the disk has too little space, or the file system has no locks.
        RunError: the disk refuses a write.
    """
    seen = examine(target)
    if seen.complete:
        return seen
    if seen.damaged:
        warn(f"{target.split} cache: {'; '.join(seen.findings)}; encoding again")
    with StoreClaim(target.path), StoreLock(target.path) as lock, lock.exclusive():
        return _prepare(target)


class Completion:
    """Completes some trajectories, and with them those that share their blocks; a reader's `Repair`.

    Waits for blocks that other builders are at. What is missing is encoded in silence.

    Args:
        target: the cache, made ready by `prepare_target`.
        seen: what that gave, or an examination that found it complete.
        notify: told in a sentence about damage.
        completed: told how many trajectories are complete, whenever more are.
    """

    def __init__(self, target: CacheTarget, seen: Examination, notify: Tell, completed: Callable[[int], None]) -> None:
        self._target, self._grid, self._manifest = target, seen.block, seen.manifest
        self._notify, self._completed = notify, completed

    def __call__(self, faults: Mapping[int, str]) -> NDArray[np.int64]:
        """Complete positions, given with what is wrong with them; returns the checksums of all trajectories.

        Raises:
            As `build_target`.
        """
        bad = [row for row in faults if self._manifest.checksums[row] != ABSENT]
        if bad:
            self._notify(f"{self._target.split} cache: {name_rows(bad)}: {faults[bad[0]]}; encoding again")
        with StoreClaim(self._target.path), StoreLock(self._target.path) as lock:
            recorded = load_manifest(self._target.path)
            if bad or recorded is None or recorded.fingerprint != self._manifest.fingerprint:
                with lock.exclusive():
                    seen = _prepare(self._target, bad)
                self._grid, recorded = seen.block, seen.manifest
            builder = Builder(self._target, lock, self._grid, recorded, only=faults)
            builder.run()
        self._manifest = builder.manifest
        self._completed(self._manifest.complete)
        return self._manifest.checksums


def _prepare(target: CacheTarget, rows: Collection[int] = (), limit: int | None = None) -> Examination:
    """Make the store usable and its manifest true: what is stale, corrupt or condemned is struck from it."""
    seen = examine(target)
    seen.manifest.checksums[list(rows)] = ABSENT
    _require_space(target, seen, limit)
    if not seen.usable:
        create_store(target, seen.block)
        return examine(target)
    remove_temporaries(target.path)
    if altered := seen.altered:
        files = restore_files(target, seen.block)
        seen = replace(seen, manifest=replace(seen.manifest, files=files), altered=())
    recorded = load_manifest(target.path)
    if altered or recorded is None or recorded.complete > seen.manifest.complete:
        seen.manifest.save(target.path)
    return seen


def _require_space(target: CacheTarget, seen: Examination, limit: int | None) -> None:
    chunk = -(-target.layout.chunk_bytes // _DISK_PAGE) * _DISK_PAGE
    missing = len(target.rows) - seen.manifest.complete
    needed = (missing if limit is None else min(limit, missing)) * chunk + _SPARE_BYTES
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
