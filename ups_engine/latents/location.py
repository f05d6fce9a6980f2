"""Where latent caches live: `<cache_dir>/<task>-<split>-<12 hex of the fingerprint>.zarr`."""

import re
from pathlib import Path

from ups_engine.config.schema import Settings

_DIGITS = 12
_SUFFIX = ".zarr"


def cache_root(settings: Settings) -> Path:
    """The folder of all caches: `latent.cache_dir`, or `latent_cache` under `data.root`."""
    folder = settings.latent.cache_dir
    return Path(folder) if folder is not None else Path(settings.data.root) / "latent_cache"


def store_path(root: Path, task: str, split: str, digest: str) -> Path:
    """The folder of one cache.

    Args:
        root: the folder of all caches.
        task: the PDE task; characters that file systems dislike become underscores.
        split: `train`, `val` or `test`.
        digest: hex digest of the cache's fingerprint.
    """
    return root / f"{re.sub(r'[^A-Za-z0-9_.]+', '_', task)}-{split}-{digest[:_DIGITS]}{_SUFFIX}"


def neighbours(path: Path) -> list[Path]:
    """Caches of the same task and split that belong to other fingerprints, newest first."""
    pattern = path.name[: -(_DIGITS + len(_SUFFIX))] + "[0-9a-f]" * _DIGITS + _SUFFIX
    found = [p for p in path.parent.glob(pattern) if p != path and p.is_dir()]
    return sorted(found, key=lambda p: (-p.stat().st_mtime_ns, p.name))
