"""Whether data is the data that a run or a cache was made of: by name, size and content of its files.

A copy of the files has the same identity wherever it lies and whenever it was made; a file of which one byte was
changed has another one. Records before version 4 know files by a stamp, a hash of 32 blocks of 4 KiB: what fits it is
accepted, and its identity is entered beside the stamp, by which the run's caches stay known.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ups_engine.data.sources.base import Source
from ups_engine.data.sources.content import Content, content_of
from ups_engine.data.sources.hdf5 import readable
from ups_engine.errors import DataError
from ups_engine.reporting import Advance

Identity: TypeAlias = Mapping[str, Any]
"""JSON: `format`, the layout in words, and `files`, each with `name`, `bytes`, `sha256`, `blocks` (see `Content`), and
`stamp` where a record of before version 4 had it."""

_STAMP_BLOCKS = 32
_STAMP_BLOCK_BYTES = 4096
_MIB = 2**20
_NAMED = 5


def identity_of(source: Source, advance: Advance = lambda what, done, total: None) -> dict[str, Any]:
    """The identity of a source. Files that were hashed before and are still the same are not read.

    Args:
        source: opened.
        advance: told in MiB how much is hashed; may raise to stop that.

    Raises:
        DataError: a file cannot be read, or was changed meanwhile.
    """
    paths = source.holders()
    sizes = [path.stat().st_size for path in paths]
    files, before, total = [], 0, sum(sizes) // _MIB
    for path, size in zip(paths, sizes, strict=True):

        def count(done: int, before: int = before) -> None:
            advance("hashing data, MiB", (before + done) // _MIB, total)

        content = content_of(path, count)
        files.append({"name": path.name, **vars(content)})
        before += size
    return {"format": source.info.format, "files": files}


def settle(source: Source, known: Identity, identity: Identity) -> dict[str, Any]:
    """Make sure that a source is the data of a record.

    Args:
        source: opened.
        known: the identity that is recorded, of any version.
        identity: of the source.

    Returns:
        The identity to be recorded from now on.

    Raises:
        DataError: it is other data; says which file, what differs, and what to do.
    """
    if known["format"] != identity["format"]:
        raise _other(
            source.holders()[0],
            f"it is read as {identity['format']}, recorded is {known['format']}",
            "start a new run, unless another file took its place",
        )
    # a stamp was taken of the opened files alone
    paths = source.info.files if is_stamped(known) else source.holders()
    files = dict(zip(source.holders(), identity["files"], strict=True))
    if len(known["files"]) != len(paths):
        raise _other(paths[0], f"it takes {len(paths)} files, recorded are {len(known['files'])}")
    for path, was in zip(paths, known["files"], strict=True):
        if difference := next(_differences(source, path, was, files[path]), None):
            raise _other(path, difference)
        if "stamp" in was:
            files[path] = {**files[path], "stamp": was["stamp"]}
    return {"format": identity["format"], "files": list(files.values())}


def fingerprint_parts(identity: Identity, periodic: Sequence[bool]) -> dict[str, Any]:
    """What the fingerprints of latent caches say of their source and its axes.

    Of a run of before it is what they said then, by stamps, so that its caches are kept. They serve no other run, since
    they name the weights of its encoder too.

    Args:
        identity: of the source.
        periodic: per axis, whether its ends are neighbours to the encoder.
    """
    known_by = "stamp" if "stamp" in identity["files"][0] else "sha256"
    files = [{key: file[key] for key in ("name", "bytes", known_by)} for file in identity["files"] if known_by in file]
    source = {"source": {"format": identity["format"], "files": files}}
    return source if known_by == "stamp" else {**source, "periodic": list(periodic)}


def is_stamped(known: Identity) -> bool:
    """Whether a recorded identity knows its files by stamps alone."""
    return any("sha256" not in file for file in known["files"])


def content_stamp(path: Path) -> str:
    """Hash of the size and of 32 blocks spread evenly from the first byte to the last, whatever the file's size."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with readable(path), path.open("rb") as file:
        for offset in np.linspace(0, max(0, size - _STAMP_BLOCK_BYTES), _STAMP_BLOCKS, dtype=np.int64).tolist():
            file.seek(offset)
            digest.update(file.read(_STAMP_BLOCK_BYTES))
    return digest.hexdigest()


def _differences(source: Source, path: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if was["name"] != now["name"]:
        yield f"recorded is a file called {was['name']}"
    if was["bytes"] != now["bytes"]:
        yield f"it is {now['bytes']} bytes long, recorded are {was['bytes']}"
    elif "sha256" not in was:
        if was["stamp"] != content_stamp(path):
            yield "its content is not what is recorded"
    elif was["sha256"] != now["sha256"]:
        before, after = (Content(file["bytes"], file["sha256"], file["blocks"]) for file in (was, now))
        where = _rows_sentence(sorted(source.rows_at(path, after.differing(before))))
        hashes = f"SHA-256 {now['sha256'][:12]}, recorded is {was['sha256'][:12]}"
        yield f"its content was changed{where} ({hashes})"


def _rows_sentence(rows: list[int]) -> str:
    if not rows:
        return ""
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    spans = [(piece[0], piece[-1]) for piece in np.split(np.array(rows), breaks)]
    named = [str(first) if first == last else f"{first} to {last}" for first, last in spans[:_NAMED]]
    more = " and more" if len(spans) > _NAMED else ""
    return f" within trajector{'y' if len(rows) == 1 else 'ies'} {', '.join(named)}{more}"


def _other(
    path: Path, difference: str, advice: str = "put the earlier file back, or start a new run with what is there now"
) -> DataError:
    return DataError(f"{path} is not the data that this run was made with: {difference}", advice)
