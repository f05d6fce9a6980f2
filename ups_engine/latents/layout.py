"""How the numbers of a cache lie in its files, and the way between a tensor and those bytes."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

CacheDtype: TypeAlias = Literal["float32", "float16", "bfloat16"]
Packed: TypeAlias = NDArray[np.float32 | np.float16 | np.uint16]

CRC_BYTES = 4
"""Zarr's crc32c codec puts the checksum behind the data, little-endian."""

BLOCK_BYTES = 4 << 20
"""Fields read and encoded at a time: large enough for an accelerator, small beside the memory of the program.

On an H200 blocks 4 and 16 times as large were encoded no faster than they can be written.
"""
BLOCK_ROWS = 64
"""Trajectories encoded at a time at most, so that a build stops soon and is shared evenly."""


@dataclass(frozen=True)
class Block:
    """The fixed grid on which a store is encoded.

    An encoder's last bits may depend on what else is in its batch. Every trajectory is therefore always encoded
    with the same companions, whether the build was interrupted, shared, or repairs a single chunk.

    Attributes:
        rows: trajectories of a block; the last block may have fewer.
        frames: frames encoded at a time; fewer than a trajectory has only where one alone is too large.
    """

    rows: int
    frames: int


@dataclass(frozen=True)
class Layout:
    """Shape and number format of an array `latents (samples, frames, tokens, dim)`, one trajectory a chunk."""

    samples: int
    frames: int
    tokens: int
    dim: int
    dtype: CacheDtype

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(samples, frames, tokens, dim)."""
        return self.samples, self.frames, self.tokens, self.dim

    @property
    def row_shape(self) -> tuple[int, int, int]:
        """(frames, tokens, dim) of one trajectory."""
        return self.frames, self.tokens, self.dim

    @property
    def frame_numbers(self) -> int:
        """Numbers of one frame: tokens times dim."""
        return self.tokens * self.dim

    @property
    def zarr_type(self) -> str:
        """Zarr's name of the stored numbers; Zarr has no bfloat16, so its bits are stored as uint16."""
        return "uint16" if self.dtype == "bfloat16" else self.dtype

    @property
    def storage(self) -> np.dtype[np.generic]:
        """The stored numbers in NumPy's terms, little-endian."""
        return np.dtype(self.zarr_type).newbyteorder("<")

    @property
    def torch_type(self) -> torch.dtype:
        """The stored numbers in torch's terms."""
        return getattr(torch, self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of one trajectory's numbers."""
        return self.frames * self.frame_numbers * self.storage.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Size of one trajectory's file: its numbers and their checksum."""
        return self.row_bytes + CRC_BYTES

    @property
    def memory_bytes(self) -> int:
        """Bytes of the whole array in float32, the format of training."""
        return self.samples * self.frames * self.frame_numbers * 4

    def block(self, frame_bytes: int) -> Block:
        """The encoding grid for fields of `frame_bytes` bytes a frame; a pure function, the same for every builder."""
        rows = BLOCK_BYTES // max(self.frames * frame_bytes, 1)
        if rows:
            return Block(min(rows, BLOCK_ROWS), self.frames)
        return Block(1, max(BLOCK_BYTES // frame_bytes, 1))


def pack(latents: torch.Tensor, dtype: CacheDtype) -> Packed:
    """Round latents to the cache's number format.

    Args:
        latents: any shape, any floating dtype, any device.
        dtype: number format of the cache.

    Returns:
        The same shape; bfloat16 as its bits in uint16. Numbers beyond the format's range become infinite.
    """
    rounded = latents.detach().to("cpu", getattr(torch, dtype)).contiguous()
    array: Packed = (rounded.view(torch.uint16) if dtype == "bfloat16" else rounded).numpy()
    return array


def unpack(packed: Packed, dtype: CacheDtype) -> torch.Tensor:
    """The float32 tensor of packed latents, same shape; shares memory with them where they are float32."""
    tensor = torch.from_numpy(packed)
    return (tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor).to(torch.float32)
