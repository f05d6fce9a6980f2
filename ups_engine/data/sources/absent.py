"""Values that an HDF5 file promises and does not hold: HDF5 itself gives its fill value for them, in silence.

All is told from the file's own index, without reading a value.
"""

import contextlib
import importlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ups_engine.data.sources.gap import Gap
from ups_engine.errors import DataError

_OF_HDF5PLUGIN = {
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32018: "fcidecomp",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
}
"""Filters that the package hdf5plugin brings, by their registered ids."""


def require_filters(dataset: h5py.Dataset) -> None:
    """Make sure that a dataset's chunks can be unpacked here; loads hdf5plugin where that may help.

    Raises:
        DataError: a filter is missing; names it, and what installs it.
    """
    plist = dataset.id.get_create_plist()
    for place in range(plist.get_nfilters()):
        code, _, _, stored = plist.get_filter(place)
        if h5py.h5z.filter_avail(code):
            continue
        with contextlib.suppress(ImportError):
            importlib.import_module("hdf5plugin")  # registers its filters
        if h5py.h5z.filter_avail(code):
            continue
        name = _OF_HDF5PLUGIN.get(code) or stored.decode(errors="replace") or "of unknown name"
        raise DataError(
            f"{dataset.file.filename}: {dataset.name.lstrip('/')} is packed by HDF5 filter {code} ({name}),"
            " which is not installed",
            "pip install hdf5plugin"
            if code in _OF_HDF5PLUGIN
            else "install its plugin and set HDF5_PLUGIN_PATH to its folder, or repack the file: h5repack -f GZIP=4",
        )


def find_gaps(dataset: h5py.Dataset) -> list[Gap]:
    """Trajectories (rows along the first axis) that a dataset holds no values of, or not all.

    Raises:
        DataError: it is packed by a filter that is not installed.
    """
    require_filters(dataset)
    name = dataset.name.lstrip("/")
    if dataset.is_virtual:
        return list(_virtual_gaps(dataset, name))
    if dataset.chunks:
        return list(_chunk_gaps(dataset, name))
    plist = dataset.id.get_create_plist()
    contiguous = plist.get_layout() == h5py.h5d.CONTIGUOUS and not plist.get_external_count()
    if contiguous and not dataset.id.get_storage_size():
        return [Gap(frozenset(range(len(dataset))), f"no value of {name} was ever written")]
    return []


def _chunk_gaps(dataset: h5py.Dataset, name: str) -> Iterator[Gap]:
    chunks = dataset.chunks
    grid = tuple(-(-points // chunk) for points, chunk in zip(dataset.shape, chunks, strict=True))
    if dataset.id.get_storage_size() and dataset.id.get_num_chunks() == math.prod(grid):
        return
    absent = np.ones(grid, dtype=bool)

    def note(chunk: Any) -> None:
        if chunk.size:
            absent[tuple(at // step for at, step in zip(chunk.chunk_offset, chunks, strict=True))] = False

    dataset.id.chunk_iter(note)
    touched = np.flatnonzero(absent.reshape(grid[0], -1).any(axis=1))
    rows = (row for first in touched.tolist() for row in range(first * chunks[0], (first + 1) * chunks[0]))
    if touched.size:
        yield Gap(
            frozenset(row for row in rows if row < len(dataset)),
            f"{int(absent.sum())} of {absent.size} chunks of {name} were never written",
        )


def _virtual_gaps(dataset: h5py.Dataset, name: str) -> Iterator[Gap]:
    """Gaps of a virtual dataset: sources that are absent, gaps of those that are there, and what nothing is mapped to.

    A source that may grow without end is taken to fill all rows.
    """
    given = np.zeros(len(dataset), dtype=np.int64)  # values mapped to each row
    for source in dataset.virtual_sources():
        rows = range(len(dataset))
        if _grows(source.vspace):
            given += math.prod(dataset.shape[1:])
        else:
            first, last = source.vspace.get_select_bounds()
            rows = range(first[0], last[0] + 1)
            given[rows.start : rows.stop] += source.vspace.get_select_npoints() // len(rows)
        if "%b" in source.file_name:  # a pattern: HDF5 takes the files that it finds
            continue
        for trajectories, reason in _source_gaps(dataset, source, rows):
            yield Gap(
                frozenset(trajectories),
                f"{source.file_name}, a source of the virtual dataset {name}, {reason}",
                (source.file_name,),
            )
    unmapped = np.flatnonzero(given < math.prod(dataset.shape[1:]))
    if unmapped.size:
        yield Gap(frozenset(unmapped.tolist()), f"the virtual dataset {name} has no source for all of its values")


def _source_gaps(dataset: h5py.Dataset, source: Any, rows: range) -> Iterator[tuple[Iterable[int], str]]:
    """What a source of a virtual dataset does not give to these rows of it: which of them, and why."""
    path = source_file(Path(dataset.file.filename), source.file_name)
    if path is None:
        yield rows, "is not there"
        return
    with h5py.File(path, "r", locking=False) as file:
        held = file.get(source.dset_name)
        if not isinstance(held, h5py.Dataset):
            yield rows, f"holds no dataset {source.dset_name}"
            return
        space = source.src_space
        whole = space.get_select_type() == h5py.h5s.SEL_ALL or _grows(space)
        first, last = ((0,) * held.ndim, np.array(held.shape) - 1) if whole else space.get_select_bounds()
        short = any(end >= points for end, points in zip(last, held.shape, strict=True))
        if short or (whole and not _grows(source.vspace) and held.size < source.vspace.get_select_npoints()):
            yield rows, f"is too short: {held.shape}"
        aligned = last[0] - first[0] == len(rows) - 1
        for gap in find_gaps(held):
            moved = {row - first[0] + rows.start for row in gap.trajectories} if aligned else {*rows}
            if here := moved.intersection(rows):
                yield {int(row) for row in here}, f"lacks values: {gap.reason}"


def _grows(space: Any) -> bool:
    """Whether a selection has no end."""
    slab = space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab()
    return bool(slab and h5py.h5s.UNLIMITED in space.get_regular_hyperslab()[2])


def source_file(virtual: Path, name: str) -> Path | None:
    """Where HDF5 finds a source: as named, beside the virtual file, else None. `.` is the virtual file itself."""
    if name == ".":
        return virtual
    places = (virtual.parent / name, Path(name), virtual.parent / Path(name).name)
    return next((place for place in places if place.is_file()), None)
