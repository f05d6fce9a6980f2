"""What a data file holds, as one hash of all its bytes, computed once and remembered.

The hash is the SHA-256 of the whole file, which `sha256sum` and the pages of data sets give too. A hash for each
trajectory, taken as it is first read, would spare that one pass, but caches and runs are named by the identity of
their data before any trajectory is encoded, and bytes that are not read now (other fields, axes, attributes) would not
count. So a file is read through once, when a run first looks at it: about 1.4 GB/s on one core where the disk is as
fast, 70 s for 100 GB, with its progress told; encoding a cache then hashes nothing.

Afterwards the hash is remembered by the file's path, size, inode and times of modification and change, and opening
takes a look at those. A copy that keeps the time of modification still has another time of change. Where the memory
is lost, damaged or cannot be written, the file is hashed again and nothing else happens.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import fstat, stat_result
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from ups_engine.data.sources import remembered
from ups_engine.data.sources.hdf5 import readable
from ups_engine.errors import DataError

_BLOCKS = 256
_LEAST_BLOCK = 4096
_READ_BYTES = 2**20
_TOLD_BYTES = 2**26
_CLOCK_TICK = 0.02  # s: file systems stamp by a clock that stands still for up to half of this
_COARSE_TICK = 2.0  # s, where they keep whole seconds


@dataclass(frozen=True)
class Content:
    """All bytes of a file.

    Attributes:
        bytes: their number.
        sha256: 64 hex digits.
        blocks: CRC-32C of consecutive blocks of `block_bytes(bytes)`, 8 hex digits each: tells where files differ.
    """

    bytes: int
    sha256: str
    blocks: str

    def differing(self, other: "Content") -> list[range]:
        """The ranges of bytes in which two files of one size differ."""
        size = block_bytes(self.bytes)
        pairs = zip(_split(self.blocks), _split(other.blocks), strict=True)
        return [range(at * size, (at + 1) * size) for at, (ours, theirs) in enumerate(pairs) if ours != theirs]


def block_bytes(size: int) -> int:
    """Size of the blocks of a file: the least power of two, from 4096 on, that leaves no more than 256 of them."""
    return max(_LEAST_BLOCK, 1 << (-(-size // _BLOCKS) - 1).bit_length())


def content_of(path: Path, count: Callable[[int], None] = lambda done: None) -> Content:
    """What a file holds: remembered where it is still the same file, else read through.

    Args:
        path: the file.
        count: told every 64 MiB how many bytes are hashed; what it raises stops the work.

    Raises:
        DataError: the file is missing or cannot be read, or was changed meanwhile.
    """
    path = path.resolve()
    # opened, since network file systems look for changes by others then
    with readable(path), path.open("rb") as file:
        state = _state(fstat(file.fileno()))
        if (known := remembered.recall(path, state)) is not None:
            return Content(state[0], *known)
        _outlast_the_clock(fstat(file.fileno()))
        state = _state(fstat(file.fileno()))
        content = _hash(file, state[0], count)
        if _state(fstat(file.fileno())) != state:
            raise DataError(f"{path} was changed while it was read", "let whoever writes it finish, and start again")
    remembered.note(path, state, (content.sha256, content.blocks))
    return content


def _hash(file: BinaryIO, size: int, count: Callable[[int], None]) -> Content:
    whole, blocks, block = hashlib.sha256(), [], block_bytes(size)
    for start in range(0, size, block):
        crc, end = 0, min(start + block, size)
        for at in range(start, end, _READ_BYTES):
            piece = file.read(min(_READ_BYTES, end - at))
            whole.update(piece)
            crc = google_crc32c.extend(crc, piece)
            if (done := at + len(piece)) % _TOLD_BYTES == 0:
                count(done)
        blocks.append(f"{crc:08x}")
    return Content(size, whole.hexdigest(), "".join(blocks))


def _state(status: stat_result) -> remembered.State:
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _outlast_the_clock(status: stat_result) -> None:
    """Wait until whatever is written from now on bears another time than what is there."""
    tick = _CLOCK_TICK if status.st_ctime_ns % 10**9 else _COARSE_TICK
    age = time.time() - status.st_ctime_ns / 1e9
    if age < tick:
        time.sleep(min(tick, tick - age))


def _split(blocks: str) -> list[str]:
    return [blocks[at : at + 8] for at in range(0, len(blocks), 8)]
