"""The lapped transform's waves tile a grid without loss, whether its axes wrap or end."""

import pytest
import torch

from ups_engine.models.lapped import wave_order, waves, window_points


def placed(patch, cells, family, periodic):
    """Every wave of a family at every cell of a grid: (cells * patch waves, cells * patch points)."""
    rows = torch.zeros(cells, patch, cells * patch, dtype=torch.float64)
    for cell in range(cells):
        ends = {"first": cell == 0, "last": cell == cells - 1} if not periodic else {}
        table = waves(window_points(patch, periodic), patch, **ends)[:, family]  # (2p, p)
        points = cell * patch - patch // 2 + torch.arange(2 * patch)
        there = torch.ones_like(points, dtype=torch.bool) if periodic else (points >= 0) & (points < cells * patch)
        assert table[~there].abs().sum() == 0
        rows[cell].index_add_(1, points[there] % (cells * patch), table[there].T.contiguous())
    return rows.flatten(0, 1)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("patch", [1, 2, 3, 4, 7, 8, 16])
@pytest.mark.parametrize("family", ["cosines", "sines"])
def test_either_family_alone_is_an_orthonormal_basis_of_a_grid(patch, family, periodic):
    rows = placed(patch, 5, slice(0, patch) if family == "cosines" else slice(patch, None), periodic)
    identity = torch.eye(5 * patch, dtype=torch.float64)
    assert (rows @ rows.T - identity).abs().max() < 1e-13
    assert (rows.T @ rows - identity).abs().max() < 1e-13


def test_waves_are_continuous_and_vanish_outside_their_window():
    patch = 4
    assert waves(torch.tensor([-3.0, 0.0, 8.0, 9.5]), patch).abs().max() == 0
    s = torch.linspace(-1, 9, 10_001, dtype=torch.float64)
    steepest = (waves(s, patch).diff(dim=0).abs() / s.diff()[:, None]).max()
    assert steepest < 2.5  # sqrt(2 / p) times the highest frequency, pi (p - 1/2) / p, and the window's own slope


def test_product_waves_begin_with_the_complete_set_of_cosines_by_rising_frequency():
    order = wave_order(3, 2)
    assert len(order) == len(set(order)) == 36
    assert all(k < 3 for wave in order[:9] for k in wave)
    assert order[:4] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(any(k >= 3 for k in wave) for wave in order[9:])
