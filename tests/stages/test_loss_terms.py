"""Every loss term of every stage, switched on alone, reaches a trained parameter and is lowered by following it."""

import pytest
import torch
from lab import inputs, loss

from ups_engine.stages.results import Results

OFF = [f"training.lambda_{term}=0" for term in ("forward", "rollout", "spectral", "relative", "decoded")]
INVERSE = ["training.use_inverse_losses=true", "training.inverse_loss_warmup_epochs=0", "stages.steady_prior.epochs=0"]
TERMS = {
    ("operator", "L_forward"): ["training.lambda_forward=1"],
    ("operator", "L_rollout"): [
        "training.lambda_rollout=1",
        "training.rollout_horizon=2",
        "stages.steady_prior.epochs=0",
    ],
    ("operator", "L_spec"): ["training.lambda_spectral=1"],
    ("operator", "L_relative"): ["training.lambda_relative=1"],
    ("operator", "L_decoded"): ["training.lambda_decoded=1"],
    ("operator", "L_inv_enc"): [*INVERSE, "training.lambda_inv_enc=1"],
    ("operator", "L_inv_dec"): [*INVERSE, "training.lambda_inv_dec=1"],
    ("steady_prior", "L_forward"): ["training.lambda_forward=1"],
    ("steady_prior", "L_spec"): ["training.lambda_spectral=1"],
    ("steady_prior", "L_relative"): ["training.lambda_relative=1"],
    ("steady_prior", "L_decoded"): ["training.lambda_decoded=1"],
    ("autoencoder", "L_rec"): [  # a latent too small for a perfect start
        "training.lambda_forward=1",
        "stages.autoencoder.lambda_inv_dec=0",
        "latent.dim=4",
    ],
    ("diff_residual", "L_denoise"): ["training.lambda_forward=1"],
    ("consistency_distill", "L_distill"): ["training.lambda_forward=1"],
}


def gradient(task, bundle):
    task.network.zero_grad()
    bundle.total.backward()
    return {name: p.grad.clone() for name, p in task.network.named_parameters() if p.grad is not None}


def norm(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors.values()]).norm().item()


@pytest.mark.parametrize(("stage", "term"), TERMS, ids=map(" ".join, TERMS))
def test_each_term_alone_moves_a_trained_parameter(lab, stage, term):
    task, batch = lab.task(stage, *OFF, *TERMS[stage, term]), torch.arange(8)
    bundle = loss(task, batch)
    assert list(bundle.components) == [term]
    grads = gradient(task, bundle)
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert norm(grads) > 1e-6
    before = bundle.components[term].item()
    assert before > 0
    with torch.no_grad():  # the loss itself goes down along its gradient: it is the gradient of this very loss
        for name, parameter in task.network.named_parameters():
            if name in grads:
                parameter -= 1e-3 * min(before, norm(grads)) / norm(grads) ** 2 * grads[name]
    assert loss(task, batch).components[term].item() < before


def test_the_autoencoders_inverse_term_moves_it_too(lab):
    """Both families of waves, so that encoding a decoded latent is not the identity to begin with."""
    roomy = ["latent.dim=12", "stages.autoencoder.lambda_inv_dec=1"]
    task = lab.task("autoencoder", *roomy)
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    given = inputs(task, torch.arange(8))
    both = task.loss(given)
    assert list(both.components) == ["L_rec", "L_inv_dec"]
    whole = gradient(task, both)
    plain = lab.task("autoencoder", "latent.dim=12", "stages.autoencoder.lambda_inv_dec=0")
    plain.network.load_state_dict(task.network.state_dict())
    rec = gradient(plain, plain.loss(given))
    inverse = {name: whole[name] - rec[name] for name in whole}
    assert both.components["L_inv_dec"] > 0
    for part in ("encoder.linear.weight", "decoder.linear.weight"):
        assert inverse[part].norm() > 1e-3 * whole[part].norm() > 0
    assert both.total.item() == pytest.approx(sum(value.item() for value in both.components.values()))


@pytest.mark.parametrize("stage", ["operator", "steady_prior", "diff_residual", "consistency_distill"])
def test_what_earlier_stages_trained_stays_as_it_is(lab, stage, monkeypatch):
    frozen, made = [], Results.frozen
    monkeypatch.setattr(Results, "frozen", lambda *given: frozen.append(made(*given)) or frozen[-1])
    task = lab.task(stage, *OFF, "training.lambda_forward=1", "training.lambda_decoded=1")
    loss(task, torch.arange(8)).total.backward()
    assert len(frozen) >= 2
    for module in frozen:
        assert all(p.grad is None and not p.requires_grad for p in module.parameters())
        assert not module.training


def test_terms_switched_on_together_add_up(lab):
    on = ["training.lambda_forward=2", "training.lambda_relative=0.5", "training.lambda_rollout=3"]
    task = lab.task("operator", *OFF, *on, "training.rollout_horizon=3")
    bundle = loss(task, torch.arange(8))
    parts = {name: value.item() for name, value in bundle.components.items()}
    assert bundle.total.item() == pytest.approx(
        2 * parts["L_forward"] + 0.5 * parts["L_relative"] + 3 * parts["L_rollout"], rel=1e-5
    )
