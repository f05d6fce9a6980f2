"""Randomness as a pure function of (seed, stage, epoch, step, purpose), so that a resumed run draws what it would have.

Three kinds, each keyed by a hash of where it is used:

- `seed_of`: a seed for PyTorch's own generator, for what happens once, such as initial weights.
- `order`: permutations of samples.
- `keys`, `uniform` and `normal`: noise inside a training step. Each number is a hash of its key and its position,
  computed where the key lies, so a GPU needs neither a generator's state nor a copy from the host, and sees the same
  draws as a CPU (uniform ones to the bit, normal ones to the rounding of log, sqrt and cos). A position is a row's
  number and a place in the row, so a sample's noise does not depend on what it is batched with. Keys of a whole epoch
  are made at once and moved once; the step picks its row, which also works inside a captured CUDA graph.

The hash is SplitMix64's output function (Steele, Lea and Flood 2014) over a Weyl sequence, applied twice with half of
the key each, so that streams of different keys do not overlap. PyTorch has no unsigned 64-bit arithmetic; int64 wraps
around alike, and only the shift has to be made logical.
"""

import hashlib
import json
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def seed_of(seed: int, stage: str, epoch: int, step: int, purpose: str) -> int:
    """Seed of one use of randomness: the first 63 bits of sha256 over the arguments."""
    return int.from_bytes(_digest(seed, stage, epoch, step, purpose)[:8]) >> 1


def order(n: int, *, seed: int, stage: str, epoch: int) -> NDArray[np.int64]:
    """A permutation of n samples: a pure function of its arguments, the same in every process.

    The random words come from Philox, whose stream numpy keeps fixed, keyed by a hash of seed, stage and epoch.
    """
    key = hashlib.sha256(f"order/{seed}/{stage}/{epoch}".encode()).digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(n)
    return np.argsort(words, kind="stable")


def keys(seed: int, stage: str, epoch: int, steps: range, purpose: str) -> Tensor:
    """Keys of a range of steps, (len(steps), 2) int64 on the CPU; one row is the key of one step's noise."""
    digests = [_digest(seed, stage, epoch, step, purpose) for step in steps]
    rows = [[int.from_bytes(d[i : i + 8], signed=True) for i in (0, 8)] for d in digests]
    return torch.tensor(rows, dtype=torch.int64).view(-1, 2)


def uniform(key: Tensor, shape: tuple[int, ...], rows: Tensor | None = None) -> Tensor:
    """Draw from the open interval (0, 1).

    Args:
        key: (2,) int64, on the device where the numbers are wanted.
        shape: of the result; its first axis counts rows.
        rows: (shape[0],) int64 numbers of the rows, beside the key; None counts them from 0.

    Returns:
        float32 multiples of 2^-23, shifted by 2^-24.
    """
    return _to_unit(_bits(key, _numbered(shape, rows, key), math.prod(shape[1:])) >> 41).view(shape)


def normal(key: Tensor, shape: tuple[int, ...], rows: Tensor | None = None) -> Tensor:
    """Draw from the standard normal distribution by the Box-Muller transform.

    Args:
        key: (2,) int64, on the device where the numbers are wanted.
        shape: of the result; its first axis counts rows.
        rows: (shape[0],) int64 numbers of the rows, beside the key; None counts them from 0.

    Returns:
        float32, at most 5.8 in magnitude.
    """
    width = math.prod(shape[1:])
    bits = _bits(key, _numbered(shape, rows, key), (width + 1) // 2)
    radius = (-2.0 * _to_unit(bits >> 41).log()).sqrt()
    angle = (2.0 * math.pi) * _to_unit((bits >> 18) & _MASK_23)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :width].reshape(shape)


_MASK_23 = (1 << 23) - 1
_WEYL, _MIX_1, _MIX_2 = (x - (1 << 64) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _digest(seed: int, stage: str, epoch: int, step: int, purpose: str) -> bytes:
    return hashlib.sha256(json.dumps([seed, stage, epoch, step, purpose]).encode()).digest()


def _numbered(shape: tuple[int, ...], rows: Tensor | None, key: Tensor) -> Tensor:
    return torch.arange(shape[0] if shape else 1, device=key.device) if rows is None else rows


def _bits(key: Tensor, rows: Tensor, width: int) -> Tensor:
    """64 pseudo-random bits for each place of each row, (rows, width) int64."""
    position = rows[:, None] * width + torch.arange(1, width + 1, device=key.device)
    return _mix(_mix(position * _WEYL + key[0]) + key[1])


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, by: int) -> Tensor:
    """Logical right shift; PyTorch's own copies the sign."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _to_unit(bits: Tensor) -> Tensor:
    """23 bits, in the lowest places, to (0, 1) without rounding."""
    return ((bits & _MASK_23).float() + 0.5) * 2.0**-23
