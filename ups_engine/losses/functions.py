"""The loss terms of all stages, as plain functions of tensors.

Every term is a scalar that carries gradients into its first argument. Half-precision inputs are raised to float32
before anything is squared. Shapes: B samples, H unrolled steps, N tokens or grid points, C channels.

The inverse losses take what has already been decoded or encoded. In the operator stage that is made from the
operator's prediction, z1 = z0 + G(z0): D(z1) and E(D(z1)), with E and D frozen but differentiable; in the autoencoder
stage it is made by the encoder and decoder that are trained. Made from the stored latents alone it would reach no
trained parameter.
"""

from typing import TypeAlias

import torch
from torch import Tensor

Pair: TypeAlias = tuple[Tensor, Tensor]
"""A prediction and its target, of one shape."""
RELATIVE_FLOOR = 1e-3
"""Smallest root mean square of a normalised field, in its standard deviations, that an error is divided by."""


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, mean((p - t)^2), over all elements of tensors of one shape."""
    predicted, target = _matched(predicted, target)
    return (predicted - target).square().mean()


def one_step_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """L_forward: MSE of the state one step ahead, both (B, N, C)."""
    return mse(predicted, target)


def rollout_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """L_rollout: MSE of an unrolled prediction, both (B, H, N, C), every step with the same weight."""
    return mse(predicted, target)


def spectral_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """L_spec: mean((|F p| - |F t|)^2), F the orthonormal real FFT over all axes of the grid.

    Args:
        predicted: (B, *grid, C), of tokens or of points, never in raster order: two tokens that are neighbours along
            one axis lie far apart in it. Half precision is raised to float32, in which the FFT runs.
        target: of the same shape.

    Returns:
        A scalar; blind to phase, so a prediction that is shifted around the grid costs nothing here.
    """
    predicted, target = _matched(predicted, target)
    difference: Tensor = _magnitudes(predicted) - _magnitudes(target)
    return difference.square().mean()


def consistency_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean preservation: mean((<p> - <t>)^2), <.> the mean over all axes of the grid, both (B, *grid, C)."""
    predicted, target = _matched(predicted, target)
    axes = _grid_axes(predicted)
    return (predicted.mean(axes) - target.mean(axes)).square().mean()


def edge_total_variation(values: Tensor, edges: Tensor) -> Tensor:
    """Total variation along edges: mean over edges (i, j) and channels of |v_i - v_j|.

    Args:
        values: (..., N, C) at the nodes.
        edges: (E, 2) int64 node numbers.

    Returns:
        A scalar; 0 without edges.

    Raises:
        ValueError: when `edges` is not (E, 2).
    """
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"edges must be (E, 2), not {tuple(edges.shape)}")
    values = _at_least_float32(values)
    jumps = values.index_select(-2, edges[:, 0]) - values.index_select(-2, edges[:, 1])
    return jumps.abs().sum() / max(jumps.numel(), 1)


def inverse_encoding_loss(decoded: Tensor, fields: Tensor) -> Tensor:
    """L_inv_enc: MSE of D(z) against the input fields of the same time, both (..., *space, C), normalised."""
    return mse(decoded, fields)


def inverse_decoding_loss(encoded: Tensor, latents: Tensor) -> Tensor:
    """L_inv_dec: MSE of E(D(z)) against z, both (..., N, C); gradients flow into both."""
    return mse(encoded, latents)


def relative_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Relative error: mean over samples and channels of ||p - t|| / max(||t||, floor), norms over space.

    Of normalised fields, so that neither the unit of a field nor its mean weighs anything, and no channel weighs more
    than another. The floor is `RELATIVE_FLOOR` standard deviations of the field at every point.

    Args:
        predicted: (B, *space, C), normalised.
        target: of the same shape.

    Returns:
        A scalar; its gradient at p = t is 0.
    """
    predicted, target = _matched(predicted, target)
    error: Tensor = torch.linalg.vector_norm((predicted - target).flatten(1, -2), dim=1)  # (B, C)
    size: Tensor = torch.linalg.vector_norm(target.flatten(1, -2), dim=1)
    smallest = RELATIVE_FLOOR * target[0, ..., 0].numel() ** 0.5
    return (error / size.clamp_min(smallest)).mean()


def _grid_axes(x: Tensor) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))


def _magnitudes(x: Tensor) -> Tensor:
    magnitudes: Tensor = torch.fft.rfftn(x, dim=_grid_axes(x), norm="ortho").abs()
    return magnitudes


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _matched(predicted: Tensor, target: Tensor) -> Pair:
    """Both in at least float32, after refusing shapes that broadcasting would silently stretch."""
    if predicted.shape != target.shape:
        raise ValueError(f"prediction {tuple(predicted.shape)} and target {tuple(target.shape)} differ in shape")
    return _at_least_float32(predicted), _at_least_float32(target)
