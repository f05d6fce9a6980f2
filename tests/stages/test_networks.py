"""Networks by the names of their results, and what becomes of a result under other settings."""

import pytest
import torch

from ups_engine.errors import CheckpointError
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.runs.checkpoints import load_result
from ups_engine.stages.networks import NETWORKS, build, network_of
from ups_engine.stages.registry import STAGE_OF, VARIANTS, makers


def test_every_result_that_a_stage_leaves_or_loads_is_a_declared_networks(lab):
    made = [result for stage in STAGE_OF.values() for result in stage.writes]
    assert sorted(made) == sorted(result for network in NETWORKS.values() for result in network.results)
    used = {result for stage in STAGE_OF.values() for result in stage.loads}
    used |= {result for network in NETWORKS.values() for result in network.trained_on}
    used |= {variant.corrector for variant in VARIANTS if variant.corrector}
    assert used <= {*made}
    for result in made:
        assert STAGE_OF[makers(result)[0]].writes.count(result) == 1


def test_a_name_that_is_no_result_is_no_network_either():
    for name in ("encoder_ema", "oprator", "operator_ema_ema"):
        with pytest.raises(KeyError, match=name):
            network_of(name)


def test_stages_load_only_what_those_before_them_leave():
    left = set()
    for stage in STAGE_OF.values():
        assert {*stage.loads} <= left
        left |= {*stage.results}


def test_a_results_sidecar_names_what_it_was_trained_on_by_its_hash(lab):
    for result in ("operator_ema", "consistency"):
        named = load_result(lab.run, result)[1]["trained_on"]
        assert named == {name: load_result(lab.run, name)[1]["sha256"] for name in network_of(result).trained_on}
        assert "encoder" in named


def test_initial_weights_are_a_pure_function_of_name_and_seed(lab):
    def weights(name, *overrides):
        context = lab.context(*overrides)
        return torch.cat([p.flatten() for p in build(name, context.settings, context.plan).parameters()])

    torch.manual_seed(5)
    one = weights("operator")
    state = torch.random.get_rng_state()
    torch.manual_seed(6)
    assert torch.equal(weights("operator"), one)
    assert torch.equal(weights("operator_ema"), one)
    assert not torch.equal(weights("operator", "seed=1"), one)
    assert not torch.equal(weights("steady_prior"), one)
    torch.manual_seed(5)
    weights("operator")
    assert torch.equal(torch.random.get_rng_state(), state)  # and leaves the process's own randomness alone


@pytest.mark.parametrize(
    ("override", "named"),
    [("models.operator.hidden=32", "models.operator.hidden"), ("latent.dim=6", "latent.dim")],
)
def test_a_result_of_other_settings_is_refused_by_the_key_that_differs(lab, override, named):
    with pytest.raises(CheckpointError, match=rf"operator_ema.safetensors was made with other .*{named}"):
        lab.context(override).results.frozen("operator_ema", LatentOperator)


def test_settings_that_a_result_does_not_depend_on_may_change(lab):
    encoder = lab.context("models.operator.hidden=32", "training.batch_size=3").results.frozen("encoder", GridEncoder)
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())


def test_surrogates_take_the_steps_and_temperature_of_their_settings(lab):
    context = lab.context("stages.diff_residual.temperature=0.5", "stages.consistency_distill.sampling_steps=2")
    found = [context.results.surrogate(variant) for variant in VARIANTS]
    assert [variant.name for variant in VARIANTS] == ["operator", "diffusion", "consistency"]
    assert [(s.steps, s.temperature, s.evaluations_per_step) for s in found] == [(0, 0, 1), (4, 0.5, 5), (2, 0.5, 3)]


def test_noise_of_evaluations_belongs_to_seed_purpose_frame_and_trajectory(lab):
    noise, rows = lab.context().noise("rollout"), torch.tensor([2, 5, 9])
    whole = noise(3, rows, (4, 8, 8))
    assert whole.shape == (3, 4, 8, 8)
    assert torch.equal(noise(3, rows[1:], (4, 8, 8)), whole[1:])
    others = [noise(4, rows, (4, 8, 8)), lab.context().noise("other")(3, rows, (4, 8, 8))]
    others.append(lab.context("seed=1").noise("rollout")(3, rows, (4, 8, 8)))
    assert all(not torch.equal(other, whole) for other in others)
