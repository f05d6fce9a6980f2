"""The record of which trajectories of a store are complete, written last and replaced atomically."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ups_engine.formats import require_known
from ups_engine.latents.fingerprint import FORMAT
from ups_engine.latents.layout import CacheDtype, Layout
from ups_engine.latents.store import store_attributes
from ups_engine.runs.atomic import write_json

NAME = "manifest.json"
ABSENT = -1
"""In `Manifest.checksums`: the trajectory has not been written."""


@dataclass(frozen=True)
class Manifest:
    """What a store vouches for.

    Attributes:
        fingerprint: digest of the store that it belongs to.
        layout: shape and number format of the store.
        checksums: crc32c of each trajectory's numbers, (samples,) int64; `ABSENT` where there are none. Kept beside
            the one in the chunk, because a chunk that was put in another's place is intact by its own.
        files: crc32c of the store's other files, its metadata and small arrays, by path within the store.
    """

    fingerprint: str
    layout: Layout
    checksums: NDArray[np.int64]
    files: Mapping[str, int]

    @property
    def complete(self) -> int:
        """Number of trajectories recorded."""
        return int(np.count_nonzero(self.checksums != ABSENT))

    def save(self, store: Path) -> None:
        """Replace the store's manifest atomically and durably.

        Raises:
            RunError: the disk is full or refuses the write.
        """
        write_json(
            store / NAME,
            {
                "format": FORMAT,
                "fingerprint": self.fingerprint,
                "shape": list(self.layout.shape),
                "dtype": self.layout.dtype,
                "chunk_bytes": self.layout.chunk_bytes,
                "complete": self.complete,
                "files": {name: f"{crc:08x}" for name, crc in sorted(self.files.items())},
                "crc32c": [None if crc == ABSENT else f"{crc:08x}" for crc in self.checksums.tolist()],
            },
        )


def empty_manifest(fingerprint: str, layout: Layout, files: Mapping[str, int]) -> Manifest:
    """A manifest of a store without trajectories."""
    return Manifest(fingerprint, layout, np.full(layout.samples, ABSENT, dtype=np.int64), files)


def load_manifest(store: Path) -> Manifest | None:
    """Read a store's manifest; None where there is none or it cannot be understood."""
    try:
        record = json.loads((store / NAME).read_bytes())
        samples, frames, tokens, dim = (int(n) for n in record["shape"])
        dtype: CacheDtype = record["dtype"]
        layout = Layout(samples, frames, tokens, dim, dtype)
        crcs = [ABSENT if text is None else _number(text) for text in record["crc32c"]]
        files = {str(name): _number(text) for name, text in record["files"].items()}
        manifest = Manifest(str(record["fingerprint"]), layout, np.array(crcs, dtype=np.int64), files)
        counted = len(crcs) == samples and record["complete"] == manifest.complete
        sound = record["format"] == FORMAT and counted and record["chunk_bytes"] == layout.chunk_bytes
        return manifest if sound else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def refuse_newer(store: Path) -> None:
    """Do nothing for a store that this program knows how to read, or that is damaged.

    Metadata and manifest both state the version. One alone that claims a later one is damaged; where only one can be
    read, it is believed.

    Raises:
        FormatError: the store was written by a newer UPS.
    """
    stated = [store_attributes(store).get("format")]
    try:
        stated.append(json.loads((store / NAME).read_bytes())["format"])
    except (OSError, ValueError, KeyError, TypeError):
        stated.append(None)
    versions = [version for version in stated if type(version) is int]
    if versions and min(versions) > FORMAT:
        require_known("latent cache", min(versions), FORMAT, str(store))


def _number(text: str) -> int:
    """A checksum as `save` writes it, and in no other spelling."""
    number = int(text, 16)
    if f"{number:08x}" != text:
        raise ValueError(f"{text!r} is no checksum")
    return number
