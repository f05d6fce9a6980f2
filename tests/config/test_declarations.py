"""A stage and a loss weight are declared in one place each; every table and check derives from that."""

import pytest
from pydantic import ValidationError

from ups_engine.config.schema import STAGES, TRAINED_STAGES, Settings
from ups_engine.config.stages import StageSettings, StagesSettings
from ups_engine.config.training import LOSS_WEIGHTS, TrainingSettings


def test_stages_are_those_of_the_settings_in_their_order():
    fields = StagesSettings.model_fields
    assert tuple(fields) == STAGES
    assert tuple(name for name in STAGES if issubclass(fields[name].annotation, StageSettings)) == TRAINED_STAGES
    assert STAGES[-1] == "evaluation" and "evaluation" not in TRAINED_STAGES


def test_every_setting_of_a_loss_weight_says_when_it_counts():
    named = [key.removeprefix("lambda_") for key in TrainingSettings.model_fields if key.startswith("lambda_")]
    assert list(LOSS_WEIGHTS) == named
    assert LOSS_WEIGHTS["rollout"] == "unrolled"
    assert {name for name, counts in LOSS_WEIGHTS.items() if counts == "inverse"} == {"inv_enc", "inv_dec"}


@pytest.mark.parametrize(
    "stage", [stage for stage in TRAINED_STAGES if StagesSettings.model_fields[stage].annotation.LOSSES]
)
def test_whatever_weight_counts_always_is_enough_for_a_stage_of_weighted_losses(load, stage):
    tree = load().settings.model_dump()
    for name in TRAINED_STAGES:
        tree["stages"][name]["epochs"] = 3 if name == stage else 0
    tree["training"] |= {f"lambda_{name}": 0.0 for name in LOSS_WEIGHTS}
    always = [f"lambda_{name}" for name, counts in LOSS_WEIGHTS.items() if counts == "always"]
    with pytest.raises(
        ValidationError, match=f"stages.{stage} has steps without any loss; give one of training.{always[0]}"
    ):
        Settings.model_validate(tree)
    for key in always:
        tree["training"][key] = 1.0
        assert getattr(Settings.model_validate(tree).training, key) == 1.0
        tree["training"][key] = 0.0
