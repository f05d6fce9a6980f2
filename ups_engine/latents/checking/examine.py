"""What state each trajectory of a store is in, and why: the judgement that build, check and training share.

A trajectory is complete when the store's metadata and manifest are those of the target, the manifest lists it, its
file has the right size and, where asked, its numbers have the recorded checksum. The quick examination reads the
metadata, the manifest and one folder listing; it finds what is missing, truncated, renamed or of another
fingerprint. The deep one reads every byte and finds what was altered or exchanged, and encodes a sample again, which
finds latents that were vouched for but are not what the encoder gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups_engine.latents.checking.reencoding import Disagreement, compare_sample
from ups_engine.latents.fingerprint import Json, differences
from ups_engine.latents.layout import Block
from ups_engine.latents.location import neighbours
from ups_engine.latents.manifest import ABSENT, Manifest, empty_manifest, load_manifest, refuse_newer
from ups_engine.latents.store import ARRAY, LatentStore, array_metadata, metadata_of, store_attributes
from ups_engine.latents.target import CacheTarget
from ups_engine.reporting import Count

_GROUP = "zarr.json"
_NAMED = 5  # trajectories named in a finding before it says "and more"


class RowState(IntEnum):
    """The state of a trajectory."""

    MISSING = 0
    COMPLETE = 1
    STALE = 2
    CORRUPT = 3


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        target: the cache that is wanted.
        states: a `RowState` for each trajectory, (N,) int8.
        findings: what is wrong, a clause each, without final stop; empty for a complete store.
        usable: the store's metadata are those of the target, so that a build can go on in it.
        manifest: the record of the complete trajectories, and of no others.
        block: the encoding grid of the store.
        bytes_on_disk: size of the chunk files.
        altered: files of metadata and small arrays that are not as they were written, though no chunk depends on them.
        re_encoded: sound trajectories that a deep examination encoded again and compared.
    """

    target: CacheTarget
    states: NDArray[np.int8]
    findings: tuple[str, ...]
    usable: bool
    manifest: Manifest
    block: Block
    bytes_on_disk: int
    altered: tuple[str, ...] = ()
    re_encoded: int = 0

    def count(self, state: RowState) -> int:
        """Number of trajectories in a state."""
        return int(np.count_nonzero(self.states == state))

    @property
    def complete(self) -> bool:
        """Whether every trajectory is complete, and nothing else is altered."""
        return self.count(RowState.COMPLETE) == len(self.states) and not self.altered

    @property
    def damaged(self) -> bool:
        """Whether anything is there that should not be as it is, beside what is merely missing."""
        return bool(self.count(RowState.CORRUPT) or self.count(RowState.STALE) or self.altered)

    def to_json(self) -> dict[str, Json]:
        """The entry of `splits` in `ups cache check --json`."""
        return {
            "name": self.target.split,
            "samples": len(self.states),
            "complete": self.count(RowState.COMPLETE),
            "missing": self.count(RowState.MISSING),
            "stale": self.count(RowState.STALE),
            "corrupt": self.count(RowState.CORRUPT),
            "bytes_on_disk": self.bytes_on_disk,
            "bytes_in_ram": self.target.layout.memory_bytes,
        }


def examine(target: CacheTarget, *, deep: bool = False, progress: Count | None = None) -> Examination:
    """Find out the state of a target's store without changing anything.

    Args:
        target: the cache that is wanted.
        deep: verify every checksum, and encode a sample again (see `reencoding`).
        progress: told (verified, to verify) trajectories of a deep examination.

    Raises:
        FormatError: the store was written by a newer UPS.
        DataError: the source cannot be read.
    """
    refuse_newer(target.path)
    store, manifest = LatentStore(target.path, target.layout), load_manifest(target.path)
    sizes = store.sizes()
    present = [row for row in sizes if row < store.layout.samples]
    on_disk = sum(sizes.values())
    altered = () if manifest is None else _altered(store, manifest)
    verdict = _metadata_verdict(target, store) or _manifest_verdict(target, manifest, len(present), altered)
    if manifest is None or verdict is not None:
        state, finding = verdict or (RowState.MISSING, "")
        states = np.full(store.layout.samples, RowState.MISSING, dtype=np.int8)
        states[present] = state
        nothing = empty_manifest(target.fingerprint.digest, store.layout, {})
        block = target.layout.block(target.frame_bytes)
        return Examination(target, states, (finding,), False, nothing, block, on_disk)

    block = Block(*store_attributes(target.path)["block"])
    states, findings = _quick_states(store, manifest, sizes)
    if altered:
        findings.append(f"{', '.join(altered)} {'is' if len(altered) == 1 else 'are'} not as written")
    compared = 0
    if deep:
        findings += _verify(store, manifest, states, progress)
        disagreement = compare_sample(target, block, np.flatnonzero(states == RowState.COMPLETE), progress)
        states[disagreement.rows] = RowState.STALE
        findings += _disagreeing(disagreement)
        compared = disagreement.compared
    sound = replace(manifest, checksums=np.where(states == RowState.COMPLETE, manifest.checksums, ABSENT))
    return Examination(target, states, tuple(findings), True, sound, block, on_disk, altered, compared)


def _altered(store: LatentStore, manifest: Manifest) -> tuple[str, ...]:
    """Files beside the chunks whose checksums are not those of the manifest."""
    found = store.file_checksums()
    recorded = manifest.files if _GROUP in manifest.files else {_GROUP: ABSENT, **manifest.files}
    return tuple(name for name, crc in sorted(recorded.items()) if found.get(name) != crc)


def _metadata_verdict(target: CacheTarget, store: LatentStore) -> tuple[RowState, str] | None:
    """The state of what is there, and why, when the store as such is not the target's; else None."""
    if not target.path.exists():
        return RowState.MISSING, "there is no cache yet" + _elsewhere(target)
    array = metadata_of(target.path / ARRAY)
    if metadata_of(target.path) is None or array is None:
        name = f"{ARRAY}/{_GROUP}" if array is None and metadata_of(target.path) is not None else _GROUP
        return RowState.CORRUPT, f"{name} is missing or unreadable"
    attributes = store_attributes(target.path)
    if not _is_block(attributes.get("block")):
        return RowState.CORRUPT, f"{_GROUP} lacks the attributes of a latent cache"
    if attributes.get("fingerprint") != target.fingerprint.digest:
        return RowState.STALE, "its fingerprint is not the current one" + _difference(target, attributes)
    for key, value in array_metadata(target.layout).items():
        if array.get(key) != value:
            return RowState.CORRUPT, f"{ARRAY}/zarr.json says {key} = {array.get(key)!r} where {value!r} is expected"
    return None


def _is_block(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(n) is int and n > 0 for n in value)


def _elsewhere(target: CacheTarget) -> str:
    """Name the latest cache of the same split under another fingerprint, and what sets it apart."""
    for other in neighbours(target.path):
        if attributes := store_attributes(other):
            return f"; {other.name} is of another fingerprint" + _difference(target, attributes)
    return ""


def _difference(target: CacheTarget, attributes: dict[str, Any]) -> str:
    parts = attributes.get("fingerprint_parts")
    names = differences(target.fingerprint.parts, parts) if isinstance(parts, dict) else []
    return f" ({', '.join(names)} differ{'s' if len(names) == 1 else ''})" if names else ""


def _manifest_verdict(
    target: CacheTarget, manifest: Manifest | None, present: int, altered: tuple[str, ...]
) -> tuple[RowState, str] | None:
    """The same for the manifest: without one that is the store's own, nothing vouches for any chunk."""
    if manifest is None:
        return RowState.MISSING, f"manifest.json is missing or unreadable, so nothing vouches for {present} chunk files"
    if manifest.fingerprint != target.fingerprint.digest:
        return RowState.STALE, f"manifest.json belongs to another cache ({manifest.fingerprint[:12]})"
    if manifest.layout != target.layout:
        return RowState.CORRUPT, f"manifest.json records shape {manifest.layout.shape} as {manifest.layout.dtype}"
    if _GROUP in altered:
        return RowState.CORRUPT, f"{_GROUP} is not as it was written"
    return None


def _quick_states(store: LatentStore, manifest: Manifest, sizes: dict[int, int]) -> tuple[NDArray[np.int8], list[str]]:
    samples = store.layout.samples
    found = np.array([sizes.get(row, -1) for row in range(samples)], dtype=np.int64)
    listed = manifest.checksums != ABSENT
    states = np.full(samples, RowState.MISSING, dtype=np.int8)
    states[listed & (found == store.layout.chunk_bytes)] = RowState.COMPLETE
    wrong = listed & (found >= 0) & (found != store.layout.chunk_bytes)
    states[wrong] = RowState.CORRUPT
    findings = []
    if unfinished := int(np.count_nonzero(~listed)):
        findings.append(f"{unfinished} of {samples} trajectories have not been encoded")
    if lost := np.flatnonzero(listed & (found < 0)).tolist():
        findings.append(f"the file of {name_rows(lost)} is missing")
    if cut := np.flatnonzero(wrong).tolist():
        findings.append(f"the file of {name_rows(cut)} has the wrong size")
    return states, findings


def _verify(
    store: LatentStore,
    manifest: Manifest,
    states: NDArray[np.int8],
    progress: Count | None,
) -> list[str]:
    """Read every chunk that passed so far; mark the corrupt ones in `states` and say what is wrong with them."""
    rows = np.flatnonzero(states == RowState.COMPLETE).tolist()
    scratch: NDArray[Any] = np.empty(store.layout.row_shape, store.layout.storage)
    faults: dict[str, list[int]] = {}
    for done, row in enumerate(rows, start=1):
        fault = store.read(row, scratch, int(manifest.checksums[row]))
        if fault is not None:
            states[row] = RowState.CORRUPT
            faults.setdefault(fault, []).append(row)
        if progress is not None:
            progress(done, len(rows))
    return [f"{name_rows(bad)}: {fault}" for fault, bad in faults.items()]


def _disagreeing(found: Disagreement) -> list[str]:
    if not found.differing:
        return []
    which = name_rows(found.rows.tolist()) if found.differing == len(found.rows) else f"all {found.compared}"
    return [
        f"of {found.compared} trajectories that were encoded again {found.differing} ({which}) differ from what is"
        f" stored, by up to {100 * found.worst:.2g} % of their size, so other weights or other code encoded them"
    ]


def name_rows(rows: Sequence[int]) -> str:
    """`trajectory 7`, or `trajectories 1, 2, 3, 4, 5 and 12 more`; positions in the store."""
    if len(rows) == 1:
        return f"trajectory {rows[0]}"
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f"trajectories {', '.join(map(str, rows[:_NAMED]))}{more}"
