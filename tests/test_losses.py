"""Every loss term: its value by hand, its gradient, its behaviour at the edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.losses import functions as losses
from ups_engine.losses.terms import compute_inverse_loss_curriculum_weight, compute_operator_loss_bundle

EDGES = torch.tensor([[0, 1], [1, 2]])
PAIR_LOSSES = {
    "mse": losses.mse,
    "one_step_loss": losses.one_step_loss,
    "rollout_loss": losses.rollout_loss,
    "spectral_loss": losses.spectral_loss,
    "consistency_loss": losses.consistency_loss,
    "inverse_encoding_loss": losses.inverse_encoding_loss,
    "inverse_decoding_loss": losses.inverse_decoding_loss,
    "relative_loss": losses.relative_loss,
}


def pair(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(shape, generator=generator).to(dtype), torch.randn(shape, generator=generator).to(dtype)


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_every_loss_moves_a_trained_parameter(name):
    layer = torch.nn.Linear(3, 3)
    x, target = pair(2, 7, 3)
    PAIR_LOSSES[name](layer(x), target).backward()
    assert layer.weight.grad.abs().sum() > 1e-4


def test_edge_total_variation_moves_a_trained_parameter():
    layer = torch.nn.Linear(3, 3)
    losses.edge_total_variation(layer(pair(2, 7, 3)[0]), EDGES).backward()
    assert layer.weight.grad.abs().sum() > 1e-4


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_a_perfect_prediction_costs_nothing_and_has_a_finite_gradient(name):
    target = pair(2, 7, 3)[1]
    predicted = target.clone().requires_grad_()
    loss = PAIR_LOSSES[name](predicted, target)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(predicted.grad, torch.zeros_like(target))


@pytest.mark.parametrize("name", PAIR_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    predicted, target = (300 * x for x in pair(2, 7, 3, dtype=dtype))  # 300 squared overflows float16
    loss = PAIR_LOSSES[name](predicted, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(PAIR_LOSSES[name](predicted.double(), target.double()).item(), rel=1e-5)


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_shapes_that_would_broadcast_are_refused(name):
    with pytest.raises(ValueError, match=r"\(2, 7, 3\).*\(1, 7, 3\)"):
        PAIR_LOSSES[name](torch.zeros(2, 7, 3), torch.zeros(1, 7, 3))


def test_mse_by_hand():
    assert losses.mse(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])).item() == 2.0


@given(st.integers(1, 17), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_spectral_loss_equals_numpys_at_any_size(points, channels):
    predicted, target = pair(2, points, channels)
    expected = np.mean(
        (
            np.abs(np.fft.rfft(predicted.numpy(), axis=1, norm="ortho"))
            - np.abs(np.fft.rfft(target.numpy(), axis=1, norm="ortho"))
        )
        ** 2
    )
    assert losses.spectral_loss(predicted, target).item() == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_spectral_loss_in_two_dimensions_ignores_shifts_and_sees_scale():
    x = pair(2, 6, 5, 1)[0]
    shifted = torch.roll(x, (2, 1), (1, 2))
    assert losses.spectral_loss(shifted, x).item() < 1e-12
    power = torch.fft.rfftn(x, dim=(1, 2), norm="ortho").abs().square().mean().item()
    assert losses.spectral_loss(2 * x, x).item() == pytest.approx(power, rel=1e-5)


def test_spectral_loss_has_a_finite_gradient_where_a_mode_is_absent():
    predicted = torch.zeros(1, 8, 1, requires_grad=True)
    losses.spectral_loss(predicted, torch.ones(1, 8, 1)).backward()
    assert torch.isfinite(predicted.grad).all()


def test_consistency_loss_sees_only_the_mean():
    predicted, target = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[4.0], [1.0]]])
    assert losses.consistency_loss(predicted, target).item() == 0.25
    assert losses.consistency_loss(predicted.flip(1), predicted).item() == 0.0


def test_edge_total_variation_by_hand():
    values = torch.tensor([[0.0, 0.0], [1.0, -3.0], [1.0, 1.0]])
    assert losses.edge_total_variation(values, EDGES).item() == (1 + 3 + 0 + 4) / 4
    assert losses.edge_total_variation(values, torch.empty(0, 2, dtype=torch.int64)).item() == 0.0
    with pytest.raises(ValueError, match=r"\(E, 2\), not \(2, 3\)"):
        losses.edge_total_variation(values, torch.zeros(2, 3, dtype=torch.int64))


def test_relative_loss_is_the_mean_of_the_ratio_of_each_sample_and_channel():
    target = torch.stack([torch.full((4, 2), 2.0), torch.full((4, 2), 100.0)])
    predicted = target + torch.tensor([[1.0, 0.0], [10.0, 0.0]]).view(2, 1, 2)
    assert losses.relative_loss(predicted, target).item() == pytest.approx((0.5 + 0.1) / 4)


def test_relative_loss_weighs_a_target_below_the_floor_by_the_floor():
    predicted = torch.full((1, 4, 1), 1e-3, requires_grad=True)
    loss = losses.relative_loss(predicted, torch.zeros(1, 4, 1))
    loss.backward()
    assert loss.item() == pytest.approx(1.0)
    assert torch.isfinite(predicted.grad).all()


def test_the_bundle_sums_what_it_was_given_times_its_weights():
    p, t = pair(2, 7, 3)
    bundle = compute_operator_loss_bundle(
        forward=(p, t), relative=(p, t), weights={"forward": 2.0, "relative": 0.5, "spectral": 3.0}
    )
    assert set(bundle.components) == {"L_forward", "L_relative"}
    expected = 2 * losses.mse(p, t) + 0.5 * losses.relative_loss(p, t)
    assert bundle.total.item() == pytest.approx(expected.item())
    assert bundle.components["L_forward"].item() == losses.mse(p, t).item()


@pytest.mark.parametrize(
    ("term", "name"),
    [
        ("forward", "L_forward"),
        ("rollout", "L_rollout"),
        ("spectral", "L_spec"),
        ("relative", "L_relative"),
        ("decoded", "L_decoded"),
        ("inv_enc", "L_inv_enc"),
        ("inv_dec", "L_inv_dec"),
        ("consistency", "L_consistency"),
        ("edge_tv", "L_edge_tv"),
    ],
)
def test_each_term_of_the_bundle_reaches_the_prediction_alone(term, name):
    p, t = pair(2, 7, 3)
    p.requires_grad_()
    weights = {term: torch.tensor(0.5)}
    bundle = compute_operator_loss_bundle(**{term: (p, EDGES if term == "edge_tv" else t)}, weights=weights)
    bundle.total.backward()
    assert list(bundle.components) == [name]
    assert bundle.total.item() == pytest.approx(0.5 * bundle.components[name].item())
    assert p.grad.abs().sum() > 0


def test_inverse_losses_reach_the_operator_through_frozen_encoder_and_decoder():
    operator, encoder, decoder = (torch.nn.Linear(3, 3) for _ in range(3))
    encoder.requires_grad_(False)
    decoder.requires_grad_(False)
    z0, u1 = pair(2, 7, 3)
    for term in ("inv_enc", "inv_dec"):
        operator.zero_grad()
        z1 = z0 + operator(z0)
        decoded = decoder(z1)
        given_pair = (decoded, u1) if term == "inv_enc" else (encoder(decoded), z1)
        bundle = compute_operator_loss_bundle(**{term: given_pair}, weights={term: 0.05})
        bundle.total.backward()
        assert operator.weight.grad.abs().sum() > 1e-4


def test_a_bundle_without_terms_is_refused():
    p, t = pair(2, 7, 3)
    with pytest.raises(ValueError, match="no loss term"):
        compute_operator_loss_bundle()
    with pytest.raises(ValueError, match="no loss term"):
        compute_operator_loss_bundle(spectral=(p, t))


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.0), (14, 0.0), (15, 0.0), (18, 0.01), (22, 0.05 * 7 / 15), (30, 0.05), (1000, 0.05)],
)
def test_the_inverse_curriculum_waits_ramps_and_stays(epoch, expected):
    assert math.isclose(compute_inverse_loss_curriculum_weight(epoch, 0.5), expected)


def test_the_inverse_curriculum_ends_at_the_base_weight_when_that_is_smaller():
    assert compute_inverse_loss_curriculum_weight(40, 0.02) == 0.02
    assert compute_inverse_loss_curriculum_weight(0, 0.02, warmup_epochs=0) == 0.02
