"""The store on disk: a Zarr v3 group whose chunks are raw numbers that NumPy can map, one trajectory a file.

    <store>.zarr/zarr.json            group; attributes: fingerprint, its parts, number format, encoding grid
                 latents/zarr.json    array (samples, frames, tokens, dim), uncompressed, crc32c
                 latents/c.<i>.0.0.0  trajectory i: its numbers, little-endian, then four bytes of checksum
                 trajectories/        (samples,) numbers of the trajectories in the source
                 cond/<name>/         (samples,) a PDE parameter of each trajectory
                 manifest.json        what is complete, see `manifest`

Zarr writes the metadata and the small arrays. The chunks are written here, byte for byte as Zarr would write them,
because the checksum is wanted for the manifest as well and because Zarr's per-chunk cost exceeds that of the write.
Nothing in a store depends on when or in how many attempts it was made.
"""

import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ups_engine.latents.layout import CRC_BYTES, Layout, Packed
from ups_engine.runs.atomic import explaining_disk_errors

ARRAY = "latents"
PARTIAL = ".partial"
"""Suffix of what is being written and has no name yet."""


def crc32c(numbers: NDArray[Any]) -> int:
    """The CRC-32C of an array's bytes."""
    data: Any = numbers  # typed as bytes, takes any contiguous buffer
    return int(google_crc32c.value(data))


class LatentStore:
    """The chunk files of a store.

    Args:
        path: the store's folder.
        layout: its shape and number format.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout

    def chunk(self, row: int) -> Path:
        """Path of a trajectory's file."""
        return self.path / ARRAY / f"c.{row}.0.0.0"

    def write(self, row: int, numbers: Packed) -> int:
        """Store a trajectory, atomically; not fsynced, since a checksum is what proves a chunk.

        The temporary name is the row's own, so that what a killed builder left is overwritten by the next one.
        Only the holder of the row's claim may write it.

        Args:
            row: position in the store.
            numbers: (frames, tokens, dim), packed.

        Returns:
            The checksum.

        Raises:
            RunError: the disk is full or refuses the write.
        """
        assert numbers.shape == self.layout.row_shape and numbers.dtype == self.layout.storage
        data = np.ascontiguousarray(numbers)
        crc = crc32c(data)
        path = self.chunk(row)
        temporary = path.with_name(path.name + PARTIAL)
        with explaining_disk_errors(path):
            with temporary.open("wb", buffering=0) as file:
                _write_all(file.fileno(), _bytes(data))
                _write_all(file.fileno(), memoryview(crc.to_bytes(CRC_BYTES, "little")))
            temporary.replace(path)
        return crc

    def read(self, row: int, out: Packed, expected: int) -> str | None:
        """Read and verify a trajectory.

        Args:
            row: position in the store.
            out: (frames, tokens, dim), packed, contiguous; filled.
            expected: the manifest's checksum.

        Returns:
            None, or what is wrong with the chunk; `out` is then undefined.
        """
        tail = bytearray(CRC_BYTES)
        try:
            descriptor = os.open(self.chunk(row), os.O_RDONLY)
        except FileNotFoundError:
            return "its file is missing"
        try:
            if os.fstat(descriptor).st_size != self.layout.chunk_bytes:
                return "its file has the wrong size"
            got = os.preadv(descriptor, [_bytes(out), tail], 0)
        except OSError as error:
            return f"its file cannot be read ({error.strerror})"
        finally:
            os.close(descriptor)
        if got != self.layout.chunk_bytes:
            return "its file has the wrong size"
        actual = crc32c(out)
        if actual != int.from_bytes(tail, "little"):
            return "its checksum fails"
        if actual != expected:
            return "its file is intact, but it is not the one recorded for this trajectory"
        return None

    def sizes(self) -> dict[int, int]:
        """Sizes in bytes of the chunk files that exist, by row; none where the folder cannot be read."""
        sizes: dict[int, int] = {}
        name = re.compile(r"c\.(\d+)\.0\.0\.0")
        try:
            with os.scandir(self.path / ARRAY) as entries:
                for entry in entries:
                    match = name.fullmatch(entry.name)
                    if match and entry.is_file():
                        sizes[int(match[1])] = entry.stat().st_size
        except OSError:
            return {}
        return sizes

    def file_checksums(self) -> dict[str, int]:
        """CRC-32C of every file that is neither chunk nor manifest, by path; files that cannot be read are left out."""
        found: dict[str, int] = {}
        for folder in (self.path, self.path / ARRAY, self.path / "trajectories", self.path / "cond"):
            deeper = folder.name in ("trajectories", "cond")
            for path in folder.rglob("*") if deeper else folder.glob("zarr.json"):
                with suppress(OSError):
                    if path.is_file():
                        data = np.frombuffer(path.read_bytes(), np.uint8)
                        found[path.relative_to(self.path).as_posix()] = crc32c(data)
        return found


def partial_path(store: Path) -> Path:
    """Where a store is while it is being made or removed: a hidden neighbour."""
    return store.with_name(f".{store.name}{PARTIAL}")


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, or whatever else has its name; links are removed, not followed.

    Raises:
        OSError: the disk refuses.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def metadata_of(place: Path) -> dict[str, Any] | None:
    """The `zarr.json` of a group or array; None where it is missing or no JSON object."""
    try:
        record = json.loads((place / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def store_attributes(store: Path) -> dict[str, Any]:
    """The attributes of a store's group; none where its metadata cannot be understood."""
    attributes = (metadata_of(store) or {}).get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def array_metadata(layout: Layout) -> dict[str, Any]:
    """What the latent array's `zarr.json` must say for its chunks to be read by size and offset."""
    return {
        "shape": list(layout.shape),
        "data_type": layout.zarr_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *layout.row_shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "attributes": {"dtype": layout.dtype},
    }


def _bytes(numbers: Packed) -> memoryview:
    """The bytes of a contiguous array, not copied."""
    return numbers.reshape(-1).view(np.uint8).data


def _write_all(descriptor: int, data: memoryview) -> None:
    while len(data):
        data = data[os.write(descriptor, data) :]
