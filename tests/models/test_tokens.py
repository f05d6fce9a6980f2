"""Tokens that tile a grid, and the padding at its ends."""

import pytest
import torch

from ups_engine.errors import SettingsError
from ups_engine.models.tokens import TokenGrid, pad


def test_a_grid_is_tiled():
    grid = TokenGrid.fit((64, 32), 8, (True, False), tokens=32)
    assert (grid.cells, grid.count, grid.axes) == ((8, 4), 32, 2)


@pytest.mark.parametrize(
    ("shape", "patch", "fitting"),
    [
        ((64,), 6, "1, 2, 4, 8, 16"),
        ((64,), 32, "1, 2, 4, 8, 16"),  # divides, but leaves two tokens
        ((48, 64), 5, "1, 2, 4, 8"),
        ((61,), 2, "1"),
    ],
)
def test_a_patch_that_does_not_tile_the_grid_is_refused_with_those_that_do(shape, patch, fitting):
    with pytest.raises(SettingsError) as caught:
        TokenGrid.fit(shape, patch, (True,) * len(shape))
    assert f"data.patch_size = {patch}" in caught.value.message
    assert f"{'x'.join(map(str, shape))} grid" in caught.value.message
    assert caught.value.hint == f"patch sizes that do: {fitting}"


def test_a_grid_too_small_for_any_patch_points_at_the_stride():
    with pytest.raises(SettingsError) as caught:
        TokenGrid.fit((3,), 1, (True,))
    assert "data.spatial_stride" in caught.value.hint


def test_another_number_of_tokens_than_asked_for_is_refused_with_the_right_one():
    with pytest.raises(SettingsError, match="16, but a 64 grid in patches of 8 has 8 tokens") as caught:
        TokenGrid.fit((64,), 8, (True,), tokens=16)
    assert "set latent.tokens to 8" in caught.value.hint


def test_padding_goes_around_where_periodic_and_repeats_the_edge_elsewhere():
    x = torch.arange(4.0).view(1, 4)
    assert pad(x, 1, 2, 1, periodic=True).tolist() == [[2, 3, 0, 1, 2, 3, 0]]
    assert pad(x, 1, 2, 1, periodic=False).tolist() == [[0, 0, 0, 1, 2, 3, 0]]
