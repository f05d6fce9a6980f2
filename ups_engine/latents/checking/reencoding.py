"""Encoding a sample of a store again: do its latents come from the encoder, the data and the code of today?

Checksums prove that bytes are those that were written, a fingerprint that settings, weights and data are those that
were meant. Neither sees latents that another version of the code encoded, or that were altered together with their
record. So a few trajectories, spread over the store, are encoded once more, each with the companions of its block,
and compared with what is stored.

On the device and with the number of threads that encoded them they come out bit for bit; elsewhere sums are ordered
and rounded otherwise. So numbers may differ by one step of the store's format and 1/64 of the trajectory's root mean
square, far above rounding and far below what separates two encoders. As soon as some but not all of a sample disagree,
the whole store is compared.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.latents.encoding import encode_piece, pieces_of, read_piece
from ups_engine.latents.layout import Block, Packed, unpack
from ups_engine.latents.store import LatentStore
from ups_engine.latents.target import CacheTarget
from ups_engine.reporting import Count

SAMPLE = 4
"""Trajectories of a store that are encoded again, with their blocks."""
_TOLERANCE = 1 / 64  # of a trajectory's root mean square: tf32 errs by a tenth of that, another encoder by all of it


@dataclass(frozen=True)
class Disagreement:
    """Stored latents that are not what the encoder gives.

    Attributes:
        rows: their positions in the store, (n,).
        differing: of those that were encoded again.
        compared: trajectories that were encoded again.
        worst: the largest error, relative to the root mean square of its trajectory.
    """

    rows: NDArray[np.int64]
    differing: int
    compared: int
    worst: float


def compare_sample(
    target: CacheTarget,
    block: Block,
    sound: NDArray[np.int64],
    progress: Count | None = None,
) -> Disagreement:
    """Compare a sample of a store with what the encoder gives now; nothing is changed.

    Args:
        target: the cache that is wanted.
        block: the store's encoding grid.
        sound: positions whose checksums hold, (n,), ascending.
        progress: told (compared, sound) trajectories where the whole store has to be compared.

    Raises:
        DataError: the source cannot be read.
        CacheError: the encoder gives numbers that cannot be stored.
    """
    chosen = sound[np.linspace(0, len(sound) - 1, min(SAMPLE, len(sound))).astype(np.int64)]
    first = np.unique(chosen // block.rows).tolist()
    rest = [number for number in np.unique(sound // block.rows).tolist() if number not in first]
    errors: dict[int, float] = {}
    compared = 0
    for number in first:
        found, count = _compare(target, block, number, sound)
        errors, compared = errors | found, compared + count
    if errors and len(errors) < compared:
        for number in rest:
            found, count = _compare(target, block, number, sound)
            errors, compared = errors | found, compared + count
            if progress is not None:
                progress(compared, len(sound))
    # Where the whole sample disagrees, nothing speaks for the others.
    rows = sound if errors and len(errors) == compared else np.array(sorted(errors), dtype=np.int64)
    return Disagreement(rows, len(errors), compared, max(errors.values(), default=0.0))


def encode_block(target: CacheTarget, block: Block, number: int) -> Packed:
    """Latents (rows, frames, tokens, dim) of a block of the grid, encoded exactly as a build does, packed."""
    pieces = pieces_of(target.layout, block, number)
    parts = [encode_piece(target, piece, read_piece(target, piece)) for piece in pieces]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _compare(target: CacheTarget, block: Block, number: int, sound: NDArray[np.int64]) -> tuple[dict[int, float], int]:
    """Compare a block: its differing rows with their errors, relative to the root mean square, and those compared."""
    store = LatentStore(target.path, target.layout)
    fresh = encode_block(target, block, number)
    first = number * block.rows
    rows = sound[(sound >= first) & (sound < first + block.rows)].tolist()
    errors = {row: _error(_stored(store, row), fresh[row - first], target) for row in rows}
    return {row: error for row, error in errors.items() if not error <= _TOLERANCE}, len(rows)


def _stored(store: LatentStore, row: int) -> Packed:
    numbers: Packed = np.empty(store.layout.row_shape, store.layout.storage)
    with store.chunk(row).open("rb") as file:
        file.readinto(numbers.reshape(-1).view(np.uint8).data)
    return numbers


def _error(stored: Packed, fresh: Packed, target: CacheTarget) -> float:
    """The largest difference beyond one step of the format, over the root mean square; nan where none compares."""
    ours, theirs = unpack(np.ascontiguousarray(fresh), target.dtype), unpack(stored, target.dtype)
    step = 0.0 if target.dtype == "float32" else torch.finfo(target.layout.torch_type).eps
    beyond = ((ours - theirs).abs() - step * ours.abs()).clamp_min(0).max()
    return float(beyond / ours.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny))
