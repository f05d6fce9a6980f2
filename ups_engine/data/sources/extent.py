"""Where in which files the values of an HDF5 file lie."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py

from ups_engine.data.sources.absent import source_file


def pointed_to(file: h5py.File) -> tuple[Path, ...]:
    """Other files that hold values of this one's: by links, as external storage, or as sources of virtual datasets.

    Files that are absent are left out. In the order in which they are found, none twice.
    """
    found: dict[Path, None] = {}
    _follow(file, found)
    found.pop(Path(file.filename).resolve(), None)
    return tuple(found)


def _follow(file: h5py.File, found: dict[Path, None]) -> None:
    here = Path(file.filename)
    found[here.resolve()] = None
    for name in _named(file):
        path = source_file(here, name)
        if path is None or path.resolve() in found:
            continue
        if h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as other:
                _follow(other, found)
        else:
            found[path.resolve()] = None


def _named(file: h5py.File) -> Iterator[str]:
    """Names of other files, as the file has them; patterns as the files that match."""
    for key in file:
        if isinstance(link := file.get(key, getlink=True), h5py.ExternalLink):
            yield link.filename
        elif isinstance(dataset := file.get(key), h5py.Dataset):
            for place in range(dataset.id.get_create_plist().get_external_count()):
                yield dataset.id.get_create_plist().get_external(place)[0].decode()
            for source in dataset.virtual_sources() if dataset.is_virtual else ():
                pattern = source.file_name.replace("%b", "*")
                matching = Path(file.filename).parent.glob(pattern) if "*" in pattern else ()
                yield from sorted(map(str, matching)) if "%b" in source.file_name else (source.file_name,)


def rows_at(dataset: h5py.Dataset, places: Sequence[range]) -> set[int]:
    """Trajectories (rows along the first axis) of which some values lie in these bytes of the dataset's own file.

    None where the file does not say: of virtual datasets and external storage.
    """
    rows: set[int] = set()

    def note(first: int, count: int, begin: int, size: int) -> None:
        if any(begin < place.stop and place.start < begin + size for place in places):
            rows.update(range(first, min(first + count, len(dataset))))

    def note_chunk(chunk: Any) -> None:
        note(chunk.chunk_offset[0], dataset.chunks[0], chunk.byte_offset, chunk.size)

    if dataset.chunks:
        dataset.id.chunk_iter(note_chunk)
    elif (start := dataset.id.get_offset()) is not None and len(dataset):
        size = dataset.nbytes // len(dataset)
        for row in range(len(dataset)):
            note(row, 1, start + row * size, size)
    return rows
