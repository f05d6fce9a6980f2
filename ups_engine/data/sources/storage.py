"""Whether HDF5 holds the values that an array promises: where it has none it hands out zeros, without a word."""

import math
from pathlib import Path

import h5py
import numpy as np

from ups_engine.errors import DataError

_NAMED = 4


def require_stored(dataset: h5py.Dataset) -> None:
    """Make sure that every value of an array is there and can be decoded, without reading any.

    Args:
        dataset: (N, ...) with N trajectories, of an open file.

    Raises:
        DataError: chunks that were never written, sources of a virtual array that are absent, a filter that this HDF5
            has not; each with what is missing and what to do.
    """
    if dataset.is_virtual:
        _require_sources(dataset)
    elif dataset.chunks:
        _require_filters(dataset)
        _require_chunks(dataset)
    elif dataset.size and not dataset.id.get_storage_size():
        raise DataError(
            f"{dataset.file.filename}: nothing was ever written to {dataset.name}",
            "its writer was stopped; run it again",
        )


def _require_sources(dataset: h5py.Dataset) -> None:
    path = Path(dataset.file.filename)
    for source in dataset.virtual_sources():
        if source.file_name == ".":
            if source.dset_name not in dataset.file:
                raise DataError(f"{path}: {dataset.name} refers to {source.dset_name}, which the file does not hold")
            require_stored(dataset.file[source.dset_name])
            continue
        part = path.parent / source.file_name
        if not part.is_file():
            raise DataError(
                f"{path}: {dataset.name} takes values from {part}, which is not there",
                "copy it beside the file; HDF5 would give zeros in its place",
            )
        with h5py.File(part, "r", locking=False) as file:
            if source.dset_name not in file:
                raise DataError(f"{path}: {dataset.name} refers to {source.dset_name} of {part}, which is not there")
            require_stored(file[source.dset_name])


def _require_filters(dataset: h5py.Dataset) -> None:
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            called = f" ({name.decode(errors='replace')})" if name else ""
            raise DataError(
                f"{dataset.file.filename}: {dataset.name} is compressed by HDF5 filter {code}{called},"
                " which is not installed here",
                "`pip install hdf5plugin`, then set HDF5_PLUGIN_PATH to what"
                " `python -c 'import hdf5plugin; print(hdf5plugin.PLUGIN_PATH)'` prints;"
                " or rewrite the file where it can be read: h5repack -f GZIP=4 OLD NEW",
            )


def _require_chunks(dataset: h5py.Dataset) -> None:
    across = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    absent = math.prod(across) - dataset.id.get_num_chunks()
    if absent <= 0:
        return
    stored = np.zeros(across[0], dtype=np.int64)  # chunks by their place along the trajectories

    def count(chunk: h5py.h5d.StoreInfo) -> None:
        stored[chunk.chunk_offset[0] // dataset.chunks[0]] += 1

    dataset.id.chunk_iter(count)
    places = np.flatnonzero(stored < math.prod(across[1:])) * dataset.chunks[0]
    which = "trajectories" if len(places) > 1 or dataset.chunks[0] > 1 else "trajectory"
    named = ", ".join(str(place) for place in places[:_NAMED]) + (", .." if len(places) > _NAMED else "")
    raise DataError(
        f"{dataset.file.filename}: {absent} of {math.prod(across)} chunks of {dataset.name} were never written,"
        f" at {which} {named}",
        "its writer was stopped, and HDF5 gives zeros there; complete it, or copy the whole trajectories to a new file",
    )
