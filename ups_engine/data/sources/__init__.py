"""Readers of simulation files, one file per format, chosen by what a file holds and not by its name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py

from ups_engine.config.data import BoundarySettings
from ups_engine.data.sources.base import Source
from ups_engine.data.sources.boundaries import AxisBoundary, with_settings
from ups_engine.data.sources.converted import ConvertedSource
from ups_engine.data.sources.files import expand
from ups_engine.data.sources.hdf5 import Hdf5Source, open_hdf5, readable
from ups_engine.data.sources.pdebench import PdebenchSource
from ups_engine.data.sources.sharded import ShardedSource
from ups_engine.errors import DataError

HDF5_LAYOUTS: tuple[type[Hdf5Source], ...] = (PdebenchSource, ConvertedSource)

_UNSET = BoundarySettings()


def open_source(
    path: Path | str | Sequence[Path], boundary: BoundarySettings | tuple[AxisBoundary, ...] = _UNSET
) -> Source:
    """Open data as one source. No field values are read.

    Args:
        path: a file, a folder, a pattern, or a list of files that belong together.
        boundary: goes before what the files say of their axes: settings, or all that a run recorded.

    Raises:
        DataError: missing, unreadable, foreign, or files that do not go together.
        SettingsError: a boundary of an axis that the files do not have.
    """
    files = expand(path) if isinstance(path, Path | str) else list(path)
    shards = [_open_file(file, boundary) for file in files]
    return shards[0] if len(shards) == 1 else ShardedSource(shards)


def _open_file(path: Path, boundary: BoundarySettings | tuple[AxisBoundary, ...]) -> Source:
    with open_hdf5(path) as file, readable(path):
        layout = next((layout for layout in HDF5_LAYOUTS if layout.matches(file)), None)
        contents = "" if layout else _contents(file)
    if layout is None:
        raise DataError(
            f"{path} is HDF5, but of a layout that UPS does not read: {contents}",
            "UPS reads PDEBench's single files (tensor, or in 1-D density, pressure, Vx, with x- and t-coordinate)"
            " and `data` arrays of shape (N, T, X) or (N, T, H, W, C), of real numbers",
        )
    source = layout(path)
    taken = boundary if isinstance(boundary, tuple) else with_settings(source.info.boundaries, boundary)
    source.info = replace(source.info, boundaries=taken)
    return source


def _contents(file: h5py.File) -> str:
    """The first entries of a file, for the message that refuses it."""
    names = sorted(file)
    parts = [_entry(name, file.get(name)) for name in names[:6]]
    more = f", and {len(names) - 6} more" if len(names) > 6 else ""
    return "it holds " + ", ".join(parts) + more if parts else "it is empty"


def _entry(name: str, entry: object) -> str:
    if not isinstance(entry, h5py.Dataset):
        return f"group {name}"
    return f"{name} {entry.shape}" + ("" if entry.dtype.kind in "fiu" else f" of {entry.dtype}")
