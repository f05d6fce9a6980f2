"""The terms of the operator's loss, each declared once, and their weighted sum.

To add a term: write its function, add a `Term` to `TERMS`, and give it a weight `lambda_<name>` among the settings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor

from ups_engine.losses.functions import (
    Pair,
    consistency_loss,
    edge_total_variation,
    inverse_decoding_loss,
    inverse_encoding_loss,
    mse,
    one_step_loss,
    relative_loss,
    rollout_loss,
    spectral_loss,
)

Weight: TypeAlias = float | Tensor
"""A term's weight; a tensor when it changes inside a captured CUDA graph."""


@dataclass(frozen=True)
class LossBundle:
    """A loss and what it is made of.

    Args:
        total: scalar with gradients, the weighted sum.
        components: scalars by name, unweighted and detached.
    """

    total: Tensor
    components: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a stage predicted over H steps, beside the truth. What no term needs is None (see `Term.needs`).

    Attributes:
        latents: predicted and true, (B, H, tokens, dim) each, the tokens in raster order.
        cells: tokens along each axis of the grid.
        decoded: both decoded, normalised, (B, H, *space, C) each.
        fields: true normalised fields of the first step, (B, *space, C).
        encoded: the first decoded prediction encoded again, (B, tokens, dim).
    """

    latents: Pair
    cells: tuple[int, ...]
    decoded: Pair | None = None
    fields: Tensor | None = None
    encoded: Tensor | None = None

    @property
    def first(self) -> Pair:
        """Latents one step ahead, (B, tokens, dim) each."""
        return self.latents[0][:, 0], self.latents[1][:, 0]

    @property
    def later(self) -> Pair | None:
        """Latents of the steps after the first, where there are any."""
        predicted, true = self.latents
        return (predicted[:, 1:], true[:, 1:]) if predicted.shape[1] > 1 else None

    @property
    def token_grids(self) -> Pair:
        """Latents of all steps on the grid of their tokens, (B * H, *cells, dim) each."""
        predicted, true = (latents.flatten(0, 1).unflatten(1, self.cells) for latents in self.latents)
        return predicted, true

    @property
    def all_decoded(self) -> Pair:
        """Decoded fields of all steps, normalised, (B * H, *space, C) each."""
        assert self.decoded is not None
        return self.decoded[0].flatten(0, 1), self.decoded[1].flatten(0, 1)

    @property
    def first_decoded(self) -> Tensor:
        """The first decoded prediction, normalised, (B, *space, C)."""
        assert self.decoded is not None
        return self.decoded[0][:, 0]


Need: TypeAlias = Literal["decoded", "fields", "encoded"]
"""A part of `Prediction` that is only made where a term asks for it."""


@dataclass(frozen=True, eq=False)
class Term:
    """A term of the operator's loss; its weight is the setting `training.lambda_<name>`, where there is one.

    Attributes:
        name: of the term.
        component: its name among a bundle's components.
        loss: of a (prediction, target) pair.
        pair: what of a prediction it compares; None where nothing is there to compare, as without later steps.
        needs: parts of the prediction that have to be made for it.
        inverse: whether its weight follows the curriculum of the inverse losses, in the operator stage alone.
    """

    name: str
    component: str
    loss: Callable[..., Tensor]
    pair: Callable[[Prediction], Pair | None]
    needs: frozenset[Need] = frozenset()
    inverse: bool = False


_DECODED: frozenset[Need] = frozenset({"decoded"})

TERMS: Mapping[str, Term] = {
    term.name: term
    for term in (
        Term("forward", "L_forward", one_step_loss, lambda p: p.first),
        Term("rollout", "L_rollout", rollout_loss, lambda p: p.later),
        Term("spectral", "L_spec", spectral_loss, lambda p: p.token_grids),
        Term("relative", "L_relative", relative_loss, lambda p: p.all_decoded, _DECODED),
        Term("decoded", "L_decoded", mse, lambda p: p.all_decoded, _DECODED),
        Term(
            "inv_enc",
            "L_inv_enc",
            inverse_encoding_loss,
            lambda p: None if p.fields is None else (p.first_decoded, p.fields),
            frozenset({"decoded", "fields"}),
            inverse=True,
        ),
        Term(
            "inv_dec",
            "L_inv_dec",
            inverse_decoding_loss,
            lambda p: None if p.encoded is None else (p.encoded, p.first[0]),
            frozenset({"decoded", "encoded"}),
            inverse=True,
        ),
        Term("consistency", "L_consistency", consistency_loss, lambda p: p.token_grids),
        Term("edge_tv", "L_edge_tv", edge_total_variation, lambda p: None),
    )
}
"""Every term by its name, in the order in which they are summed."""


def prediction_loss(prediction: Prediction, weights: Mapping[str, Weight]) -> LossBundle:
    """The weighted sum of the terms that are named, as far as the prediction has what they compare."""
    pairs: dict[str, Any] = {name: term.pair(prediction) for name, term in TERMS.items() if name in weights}
    return compute_operator_loss_bundle(weights=weights, **pairs)


def compute_operator_loss_bundle(*, weights: Mapping[str, Weight] | None = None, **pairs: Pair | None) -> LossBundle:
    """Sum the operator's loss terms that were given times their weights.

    Args:
        weights: of the terms by name; None means 1 for `forward` and `rollout`. A term of weight 0.0, or of none, is
            not computed.
        pairs: by the names in `TERMS` a (prediction, target) pair, or None; of `edge_tv` the values (..., N, C) and
            the edges (E, 2).

    Returns:
        The total, and the components by `Term.component` as far as given and of non-zero weight.

    Raises:
        ValueError: when no term is given with a weight, or a pair's shapes differ.
        KeyError: when a term is unknown.
    """
    if unknown := pairs.keys() - TERMS.keys():
        raise KeyError(f"there is no loss term {min(unknown)!r}")
    use = {"forward": 1.0, "rollout": 1.0} if weights is None else weights
    total: Tensor | None = None
    components: dict[str, Tensor] = {}
    for name, term in TERMS.items():
        pair, weight = pairs.get(name), use.get(name, 0.0)
        if pair is None or (isinstance(weight, float | int) and weight == 0):
            continue
        value = term.loss(*pair)
        components[term.component] = value.detach()
        total = weight * value if total is None else total + weight * value
    if total is None:
        raise ValueError("no loss term was given with a weight other than 0")
    return LossBundle(total, components)


def compute_inverse_loss_curriculum_weight(
    epoch: int, base_weight: float, warmup_epochs: int = 15, max_weight: float = 0.05
) -> float:
    """Weight of an inverse loss at an epoch, counted from 0.

    Returns:
        0 before `warmup_epochs`, then a linear ramp over as many epochs, then min(base_weight, max_weight).
    """
    full = min(base_weight, max_weight)
    if epoch < warmup_epochs:
        return 0.0
    if epoch < 2 * warmup_epochs:
        return full * (epoch - warmup_epochs) / warmup_epochs
    return full
