"""From fields to what is stored: a store's encoding grid, walked piece by piece."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.discretisation.arrays import Values
from ups_engine.errors import CacheError
from ups_engine.latents.layout import Block, Layout, Packed, pack
from ups_engine.latents.target import CacheTarget


@dataclass(frozen=True)
class Piece:
    """What is read and encoded at a time: a block, or some frames of a block too large for that.

    Attributes:
        block: its number.
        first, end: positions in the store of the block's trajectories, the end excluded.
        frames: numbers of the frames, ascending.
        last: the last piece of its block.
    """

    block: int
    first: int
    end: int
    frames: NDArray[np.int64]
    last: bool


def pieces_of(layout: Layout, grid: Block, number: int) -> list[Piece]:
    """The pieces of a block, in the order of the frames."""
    first = number * grid.rows
    end = min(first + grid.rows, layout.samples)
    starts = range(0, layout.frames, grid.frames)
    return [
        Piece(number, first, end, np.arange(start, min(start + grid.frames, layout.frames)), start == starts[-1])
        for start in starts
    ]


def read_piece(target: CacheTarget, piece: Piece) -> Values:
    """Fields of a piece, as `CacheTarget.read` gives them.

    Raises:
        DataError: the source cannot be read.
    """
    return target.read(target.rows[piece.first : piece.end], piece.frames)


def encode_piece(target: CacheTarget, piece: Piece, fields: Values) -> Packed:
    """Packed latents (trajectories, frames, tokens, dim) of a piece.

    Args:
        target: the cache that is wanted.
        piece: which of it.
        fields: what `read_piece` gave.

    Raises:
        CacheError: the encoder gives another shape than announced, or numbers that cannot be stored.
    """
    layout = target.layout
    latents = target.encode(fields)
    expected = (piece.end - piece.first, len(piece.frames), layout.tokens, layout.dim)
    if tuple(latents.shape) != expected:
        raise CacheError(f"the encoder gives latents of shape {tuple(latents.shape)} where {expected} are due")
    packed = pack(latents, layout.dtype)
    _require_finite(target, piece, latents, packed)
    return packed


def _require_finite(target: CacheTarget, piece: Piece, latents: torch.Tensor, packed: Packed) -> None:
    latents = latents.detach()
    # One pass without memory of its own tells nearly always; a sum may also overflow.
    bad = np.empty((0, 0), bool) if latents.sum().isfinite() else ~latents.isfinite().flatten(2).all(-1).cpu().numpy()
    if bad.any():
        row, frame = np.argwhere(bad)[0]
        raise CacheError(
            f"the encoder gives non-finite latents for trajectory {target.rows[piece.first + row]},"
            f" frame {piece.frames[frame]} of the {target.split} split",
            "its weights are damaged or diverged: train the autoencoder stage again",
        )
    if packed.dtype == np.float16 and not np.isfinite(packed).all():
        raise CacheError(
            f"latents of the {target.split} split reach {float(latents.abs().max()):.3g}, beyond what float16 holds",
            "use --set latent.cache_dtype=bfloat16, or float32",
        )
