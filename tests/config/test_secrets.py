"""Secrets come from `.secrets.toml` and the environment alone, and leave through no door."""

from pathlib import Path

import pytest

from ups_engine.config.archive import settings_to_toml
from ups_engine.errors import SettingsError

SECRET = "hunter2-very-secret"


def test_secrets_are_read_from_their_file_and_over_it_from_the_environment(load, tmp_path):
    assert load().secrets.wandb_api_key is None
    (tmp_path / ".secrets.toml").write_text("wandb_api_key = 'from the file'\n")
    assert load().secrets.wandb_api_key.get_secret_value() == "from the file"
    resolved = load(env={"UPS_SECRETS__WANDB_API_KEY": SECRET})
    assert resolved.secrets.wandb_api_key.get_secret_value() == SECRET


def test_a_secret_is_in_no_text_that_settings_become(load):
    resolved = load(env={"UPS_SECRETS__WANDB_API_KEY": SECRET})
    for text in (repr(resolved), str(resolved.origins), settings_to_toml(resolved.settings), str(resolved.layers)):
        assert SECRET not in text


@pytest.mark.parametrize(
    "given",
    [
        {"overrides": [f"secrets.wandb_api_key={SECRET}"]},
        {"overrides": [f"training.wandb_api_key={SECRET}"]},
        {"config": Path("mine.toml")},
        {"env": {"UPS_SECRETS__WANDB_KEY": SECRET}},
        {"env": {"UPS_TRAINING__WANDB_API_KEY": SECRET}},
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_without_being_shown(load, tmp_path, given):
    (tmp_path / "mine.toml").write_text(f"wandb_api_key = '{SECRET}'\n[secrets]\nwandb_api_key = '{SECRET}'\n")
    with pytest.raises(SettingsError) as caught:
        load(**given)
    assert "secret" in caught.value.message
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", [f"wandb_key = '{SECRET}'", "wandb_api_key = 5", f"wandb_api_key = '{SECRET}"])
def test_mistakes_in_the_secrets_file_do_not_show_its_values(load, tmp_path, text):
    (tmp_path / ".secrets.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"\.secrets\.toml") as caught:
        load()
    assert SECRET not in str(caught.value)
