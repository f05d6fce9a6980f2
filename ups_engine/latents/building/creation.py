"""Making a store, and making its metadata anew. Nothing in them depends on when or by whom that is done."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups_engine.latents.fingerprint import FORMAT, Fingerprint
from ups_engine.latents.layout import Block, Layout
from ups_engine.latents.manifest import empty_manifest
from ups_engine.latents.store import ARRAY, PARTIAL, LatentStore
from ups_engine.runs.atomic import explaining_disk_errors

_AXES = ("trajectory", "frame", "token", "channel")


def create_store(
    path: Path,
    layout: Layout,
    fingerprint: Fingerprint,
    block: Block,
    trajectories: NDArray[np.int64],
    conditions: Mapping[str, NDArray[np.floating[Any]]],
) -> LatentStore:
    """Create an empty store, in place of whatever was there, appearing whole or not at all.

    Only the holder of the store's exclusive lock may call this.

    Args:
        path: the store's folder; its parent is made.
        layout: shape and number format.
        fingerprint: what the latents depend on.
        block: the encoding grid.
        trajectories: numbers of the trajectories in the source, (samples,).
        conditions: PDE parameters by name, each (samples,).

    Raises:
        RunError: the disk is full or refuses the write.
    """
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    with explaining_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        _write_skeleton(temporary, layout, fingerprint, block, trajectories, conditions)
        files = LatentStore(temporary, layout).file_checksums()
        empty_manifest(fingerprint.digest, layout, files).save(temporary)
        _remove(path)
        temporary.rename(path)
    return LatentStore(path, layout)


def restore_files(
    path: Path,
    layout: Layout,
    fingerprint: Fingerprint,
    block: Block,
    trajectories: NDArray[np.int64],
    conditions: Mapping[str, NDArray[np.floating[Any]]],
) -> dict[str, int]:
    """Write a store's metadata and small arrays anew; its chunks and its manifest stay.

    Only the holder of the store's exclusive lock may call this. Arguments as for `create_store`.

    Returns:
        Their checksums, for the manifest.

    Raises:
        RunError: the disk is full or refuses the write.
    """
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    with explaining_disk_errors(path):
        _remove(temporary)
        _write_skeleton(temporary, layout, fingerprint, block, trajectories, conditions)
        files = LatentStore(temporary, layout).file_checksums()
        for name in files:
            place = path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                _remove(place)
            (temporary / name).replace(place)
        _remove(temporary)
    return files


def _write_skeleton(
    path: Path,
    layout: Layout,
    fingerprint: Fingerprint,
    block: Block,
    trajectories: NDArray[np.int64],
    conditions: Mapping[str, NDArray[np.floating[Any]]],
) -> None:
    import zarr  # half a second that opening a complete cache does not need
    from zarr.codecs import Crc32cCodec

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
    arrays: dict[str, NDArray[Any]] = {"trajectories": trajectories.astype("<i8")}
    for name, values in conditions.items():
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


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
