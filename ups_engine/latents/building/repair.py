"""Mending caches: what a check finds bad or missing is encoded again, and nothing else is touched."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups_engine.errors import CacheError
from ups_engine.latents.building.completion import build_target
from ups_engine.latents.checking.examine import Examination, RowState, examine, name_rows
from ups_engine.latents.fingerprint import Json
from ups_engine.latents.manifest import load_manifest
from ups_engine.latents.store import LatentStore
from ups_engine.latents.target import CacheTarget
from ups_engine.reporting import Count


@dataclass(frozen=True)
class Repair:
    """What was done to the cache of one split.

    Attributes:
        found: what it held before.
        encoded: trajectories that were encoded again.
    """

    found: Examination
    encoded: int

    def sentence(self) -> str:
        """What was wrong and what was done about it, with full stop."""
        name, total = self.found.target.split, len(self.found.states)
        if self.found.complete:
            return f"{name}: all {total} trajectories are sound, nothing to mend."
        mended = f"{self.encoded} of {total} trajectories encoded again"
        return f"{name}: {'; '.join(self.found.findings)}: {mended if self.encoded else 'written anew'}."

    def to_json(self) -> dict[str, Json]:
        """An entry of `splits` in `ups cache repair --json`."""
        return {
            "name": self.found.target.split,
            "samples": len(self.found.states),
            "missing": self.found.count(RowState.MISSING),
            "stale": self.found.count(RowState.STALE),
            "corrupt": self.found.count(RowState.CORRUPT),
            "encoded": self.encoded,
            "findings": list(self.found.findings),
            "path": str(self.found.target.path),
        }


def repair_target(
    target: CacheTarget,
    *,
    deep: bool = True,
    checked: Count | None = None,
    encoded: Count | None = None,
) -> Repair:
    """Examine a store and encode again what is not complete; sound trajectories keep their bytes.

    Args:
        target: the cache that is wanted.
        deep: look at every byte, and encode a sample again; else at what the quick check sees.
        checked: told (verified, to verify) trajectories.
        encoded: told (complete, wanted) trajectories.

    Raises:
        CacheError: what was written does not come back from the disk, or as for `build_target`.
        RunError: the disk filled up or refuses a write.
        DataError: the source cannot be read.
    """
    found = examine(target, deep=deep, progress=checked)
    if found.complete:
        return Repair(found, 0)
    # What is merely missing may be another build's work in progress, and is not struck from its record.
    bad = np.isin(found.states, (RowState.CORRUPT, RowState.STALE)) & found.usable
    result = build_target(target, rows=np.flatnonzero(bad).tolist(), progress=encoded)
    _verify(target, np.flatnonzero(found.states != RowState.COMPLETE))
    return Repair(found, result.built)


def _verify(target: CacheTarget, rows: NDArray[np.int64]) -> None:
    """Read back what was written: damage that returns at once is the disk's."""
    store, manifest = LatentStore(target.path, target.layout), load_manifest(target.path)
    if manifest is None:
        raise CacheError(f"{target.path} has no manifest after its repair", "check the disk")
    scratch: NDArray[Any] = np.empty(store.layout.row_shape, store.layout.storage)
    written = [row for row in rows.tolist() if manifest.checksums[row] >= 0]
    lost = [row for row in written if store.read(row, scratch, int(manifest.checksums[row])) is not None]
    if lost:
        raise CacheError(
            f"{name_rows(lost)} of {target.path} did not come back as written",
            "the disk or its file system fails: set latent.cache_dir to another one",
        )
