"""Edge and spectrum of errors on a regular grid, as PDEBench measures them (definitions: `evaluation.metrics`)."""

import torch
from torch import Tensor


def edge_rms(error: Tensor) -> Tensor:
    """RMSE over the edge cells, (B, T, C) float64, of errors (B, T, *space, C)."""
    square = error.square()
    edges = [
        square.select(axis, end).flatten(2, -2) if square.ndim > 4 else square.select(axis, end).unsqueeze(2)
        for axis in range(2, square.ndim - 1)
        for end in (0, -1)
    ]
    return torch.cat(edges, dim=2).mean(2).sqrt()


def shell_powers(error: Tensor) -> Tensor:
    """Sum of |FFT(error) / n|^2 over each shell b <= |k| < b + 1, (B, T, shells, C) float64."""
    space = error.shape[2:-1]
    spectrum: Tensor = torch.fft.rfftn(error, dim=tuple(range(2, error.ndim - 1)), norm="forward")
    shell, weight = _shells(tuple(space), error.device)
    power = spectrum.abs().square().flatten(2, -2) * weight[:, None]
    sums = power.new_zeros(*power.shape[:2], int(shell.max()) + 1, power.shape[-1])
    return sums.index_add(2, shell, power)


def _shells(space: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Shell number and weight of each mode of a real FFT, flattened; weights make a conjugate pair count once."""
    waves = [torch.fft.fftfreq(n, 1 / n, device=device, dtype=torch.float64).round() for n in space[:-1]]
    last = torch.arange(space[-1] // 2 + 1, device=device, dtype=torch.float64)
    grids = torch.meshgrid(*waves, last, indexing="ij")
    radius = torch.stack(grids).square().sum(0).sqrt()
    # A mode k is its own partner where -k = k on the grid; in the columns 0 and n/2 of the last axis both partners
    # of a pair are present, elsewhere only one.
    alone = torch.stack([(2 * k) % n == 0 for k, n in zip(grids, space, strict=True)]).all(0)
    both_present = (2 * grids[-1]) % space[-1] == 0
    weight = torch.where(both_present & ~alone, 0.5, 1.0).double()
    return (radius + 1e-9).floor().long().flatten(), weight.flatten()
