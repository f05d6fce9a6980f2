"""Removing caches: whole stores, recognised as ours, that nobody uses, right inside the cache folder."""

import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ups_engine.latents.claims import SoleClaim, StoreLock
from ups_engine.latents.fingerprint import Json
from ups_engine.latents.manifest import load_manifest
from ups_engine.latents.store import PARTIAL, partial_path, store_attributes
from ups_engine.runs.atomic import explaining_disk_errors

_NAME = re.compile(r".+-(?:train|val|test)-[0-9a-f]{12}\.zarr")
_UNFINISHED = re.compile(rf"\.({_NAME.pattern}){re.escape(PARTIAL)}")
_PARTS = {"zarr.json", "manifest.json", "latents", "trajectories", "cond"}


@dataclass(frozen=True)
class FoundStore:
    """A cache in the cache folder.

    Attributes:
        path: its folder; of a removal or a creation that was broken off only a hidden neighbour may be there.
        fingerprint: its digest; None where its records are damaged or gone.
        encoder: hash of the weights that encoded it, where it says so.
        bytes: on the disk.
    """

    path: Path
    fingerprint: str | None
    encoder: str | None
    bytes: int

    def to_json(self) -> dict[str, Json]:
        """An entry of `removed` in `ups cache clear --json`."""
        return {"path": str(self.path), "fingerprint": self.fingerprint, "bytes": self.bytes}


@dataclass(frozen=True)
class Cleared:
    """How clearing ended.

    Attributes:
        removed: stores that are gone.
        kept: stores that are still there, each with the reason.
    """

    removed: tuple[FoundStore, ...]
    kept: tuple[tuple[FoundStore, str], ...]

    def to_json(self) -> dict[str, Json]:
        """What `ups cache clear --json` prints."""
        return {
            "removed": [store.to_json() for store in self.removed],
            "kept": [{**store.to_json(), "reason": reason} for store, reason in self.kept],
            "bytes": sum(store.bytes for store in self.removed),
        }


def find_stores(root: Path) -> tuple[FoundStore, ...]:
    """The caches right inside a folder, by name; links and whatever is not recognised as a cache are passed over.

    A cache is a folder named as `location.store_path` names them whose metadata or manifest are a cache's, or that
    holds nothing but parts of one, or what is left of one that was being made or removed.
    """
    try:
        with os.scandir(root) as entries:
            folders = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except OSError:
        return ()
    names = {name for name in folders if _NAME.fullmatch(name) and _is_store(root / name)}
    names |= {match[1] for name in folders if (match := _UNFINISHED.fullmatch(name)) and match[1] not in folders}
    return tuple(_found(root / name) for name in sorted(names))


def stale_stores(
    stores: Iterable[FoundStore], fingerprints: Collection[str], encoders: Collection[str]
) -> tuple[FoundStore, ...]:
    """Those that nobody wants any more.

    Args:
        stores: what there is.
        fingerprints: digests that are wanted.
        encoders: hashes of weights whose caches are wanted, whatever else went into them.
    """
    return tuple(store for store in stores if store.fingerprint not in fingerprints and store.encoder not in encoders)


def clear_stores(stores: Iterable[FoundStore]) -> Cleared:
    """Remove stores that `find_stores` found, but none that a live run or a builder uses.

    Each goes at once: it is renamed first, so that a removal that is broken off leaves no half of a cache behind.

    Raises:
        CacheError: the file system has no locks.
        RunError: the disk refuses.
    """
    removed, kept = [], []
    for store in stores:
        with SoleClaim(store.path) as unused, StoreLock(store.path) as lock:
            if not unused.granted or not lock.claim_all():
                kept.append((store, "a live run or a build uses it"))
                continue
            _remove(store.path)
        removed.append(store)
    return Cleared(tuple(removed), tuple(kept))


def _remove(path: Path) -> None:
    doomed = partial_path(path)
    with explaining_disk_errors(path):
        if doomed.is_dir() and not doomed.is_symlink():
            shutil.rmtree(doomed)  # which follows no link
        if path.is_dir() and not path.is_symlink():
            path.rename(doomed)
            shutil.rmtree(doomed)


def _is_store(path: Path) -> bool:
    attributes = store_attributes(path)
    if isinstance(attributes.get("fingerprint"), str) and "block" in attributes:
        return True
    names = {part.name for part in path.iterdir() if not part.name.startswith(".manifest.json.")}
    return load_manifest(path) is not None or (bool(names) and names <= _PARTS)


def _found(path: Path) -> FoundStore:
    attributes, manifest = store_attributes(path), load_manifest(path)
    digest = attributes.get("fingerprint", None if manifest is None else manifest.fingerprint)
    parts = attributes.get("fingerprint_parts")
    encoder = parts.get("encoder") if isinstance(parts, dict) else None
    size = _size(path) + _size(partial_path(path))
    return FoundStore(
        path,
        digest if isinstance(digest, str) else None,
        encoder if isinstance(encoder, str) else None,
        size,
    )


def _size(folder: Path) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                status = (Path(place) / name).lstat()
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
