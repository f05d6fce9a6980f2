"""Making a store, and making its metadata anew. Nothing in them depends on when or by whom that is done."""

import re
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ups_engine.latents.fingerprint import FORMAT
from ups_engine.latents.layout import Block
from ups_engine.latents.manifest import empty_manifest
from ups_engine.latents.store import ARRAY, LatentStore, partial_path, remove_folder
from ups_engine.latents.target import CacheTarget
from ups_engine.runs.atomic import explaining_disk_errors

_AXES = ("trajectory", "frame", "token", "channel")


def create_store(target: CacheTarget, block: Block) -> None:
    """Create a target's store, empty, in place of whatever was there, appearing whole or not at all.

    Only the holder of the store's exclusive lock may call this.

    Args:
        target: the cache that is wanted; the folder of its store is made.
        block: the encoding grid.

    Raises:
        RunError: the disk is full or refuses the write.
    """
    with explaining_disk_errors(target.path):
        target.path.parent.mkdir(parents=True, exist_ok=True)
        temporary, files = _skeleton(target, block)
        empty_manifest(target.fingerprint.digest, target.layout, files).save(temporary)
        remove_folder(target.path)
        temporary.rename(target.path)


def restore_files(target: CacheTarget, block: Block) -> dict[str, int]:
    """Write a store's metadata and small arrays anew; its chunks and its manifest stay.

    Only the holder of the store's exclusive lock may call this. Arguments as for `create_store`.

    Returns:
        Their checksums, for the manifest.

    Raises:
        RunError: the disk is full or refuses the write.
    """
    with explaining_disk_errors(target.path):
        temporary, files = _skeleton(target, block)
        for name in files:
            place = target.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                remove_folder(place)
            (temporary / name).replace(place)
        remove_folder(temporary)
    return files


def _skeleton(target: CacheTarget, block: Block) -> tuple[Path, dict[str, int]]:
    """A store without chunks and manifest under a temporary name, and its files' checksums."""
    import zarr  # half a second that opening a complete cache does not need
    from zarr.codecs import Crc32cCodec

    path, layout, fingerprint = partial_path(target.path), target.layout, target.fingerprint
    remove_folder(path)
    group = zarr.create_group(
        path,
        zarr_format=3,
        attributes={
            "format": FORMAT,
            "fingerprint": fingerprint.digest,
            "fingerprint_parts": dict(fingerprint.parts),
            "dtype": layout.dtype,
            "block": [block.rows, block.frames],
        },
    )
    group.create_array(
        ARRAY,
        shape=layout.shape,
        chunks=(1, *layout.row_shape),
        dtype=layout.zarr_type,
        filters=None,
        compressors=Crc32cCodec(),
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=_AXES,
        attributes={"dtype": layout.dtype},
    )
    group.create_group("cond")
    arrays: dict[str, NDArray[Any]] = {"trajectories": target.rows.astype("<i8")}
    for name, values in target.conditions.items():
        arrays[f"cond/{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}"] = values.astype("<f8")
    for name, values in arrays.items():
        array = group.create_array(
            name,
            shape=(layout.samples,),
            chunks=(layout.samples,),
            dtype=values.dtype,
            filters=None,
            compressors=Crc32cCodec(),
            dimension_names=_AXES[:1],
            config={"write_empty_chunks": True},
        )
        array[:] = values
    return path, LatentStore(path, layout).file_checksums()
