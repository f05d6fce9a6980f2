r"""The modulated lapped transform: overlapping local cosine waves that tile a grid without loss.

A cell of `p` grid points sees a window of `2p` points, half a cell beyond either side. On the window, with the
continuous coordinate s in (0, 2p) counted in grid spacings,

    c_k(s) = sqrt(2/p) sin(pi s / 2p) cos(pi/p (s + p/2) (k + 1/2)),   k = 0 .. p-1
    s_k(s) = sqrt(2/p) sin(pi s / 2p) sin(pi/p (s + p/2) (k + 1/2)).

At the grid points s = 1/2, 3/2, .. the cosines alone form an orthonormal basis of all fields on a periodic grid
(Malvar, "Lapped transforms for efficient transform/subband coding", 1990): windowed neighbours cancel each other's
aliasing. So do the sines alone, and both together are the complex lapped transform in which a shift of the field is
nearly a rotation of each (c_k, s_k) pair. Being functions of a continuous s they can be summed between grid points.

Encoder and decoder start from this transform and are trained from there.
"""

from itertools import product
from math import pi

import torch
from torch import Tensor


def waves(s: Tensor, patch: int) -> Tensor:
    """Evaluate the 2p waves of a window.

    Args:
        s: window coordinates (...) in grid spacings; the waves vanish outside (0, 2p).

    Returns:
        (..., 2p): p cosines by rising frequency, then p sines.
    """
    window = torch.where((s > 0) & (s < 2 * patch), torch.sin(pi * s / (2 * patch)), 0.0) * (2 / patch) ** 0.5
    frequency = torch.arange(patch, dtype=s.dtype, device=s.device) + 0.5
    phase = pi / patch * (s + patch / 2).unsqueeze(-1) * frequency
    return torch.cat([torch.cos(phase), torch.sin(phase)], dim=-1) * window.unsqueeze(-1)


def grid_waves(patch: int) -> Tensor:
    """The waves at a window's grid points: (2p points, 2p waves)."""
    return waves(torch.arange(2 * patch, dtype=torch.float64) + 0.5, patch)


def wave_order(patch: int, axes: int) -> list[tuple[int, ...]]:
    """Which wave each axis contributes to the n-th product wave.

    First the products of cosines by rising frequency, which are complete by themselves, then those with sines.
    """
    indices = product(range(2 * patch), repeat=axes)
    return sorted(indices, key=lambda ks: (any(k >= patch for k in ks), sum((k % patch + 0.5) ** 2 for k in ks), ks))
