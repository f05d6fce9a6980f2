"""Which layer wins, what an origin says, and what happens to missing and misplaced layers."""

import re
from pathlib import Path

import pytest

from ups_engine.config import layers
from ups_engine.config.paths import SETTINGS
from ups_engine.errors import SettingsError


def test_defaults_alone_are_valid_and_every_setting_has_an_origin(load):
    resolved = load()
    assert list(resolved.origins) == list(SETTINGS)
    assert set(resolved.origins.values()) >= {"settings/default.toml", "unset"}
    assert resolved.layers == ("settings/default.toml",)
    assert resolved.notices == ()


def test_each_layer_goes_over_the_one_below(load, tmp_path):
    (tmp_path / "home/.config/ups").mkdir(parents=True)
    expected = {"preset smoke": 16, "~/.config/ups/settings.toml": 2, "ups.toml": 3, "ups.local.toml": 4}
    files = [None, "home/.config/ups/settings.toml", "ups.toml", "ups.local.toml"]
    for (name, value), file in zip(expected.items(), files, strict=True):
        if file is not None:
            (tmp_path / file).write_text(f"training.batch_size = {value}\n")
        resolved = load(preset="smoke")
        assert resolved.settings.training.batch_size == value
        assert resolved.origins["training.batch_size"] == name
    (tmp_path / "mine.toml").write_text("training.batch_size = 5\n")
    given = {"preset": "smoke", "config": Path("mine.toml")}
    assert load(**given).origins["training.batch_size"] == "--config mine.toml"
    given["env"] = {"UPS_TRAINING__BATCH_SIZE": "6"}
    assert load(**given).origins["training.batch_size"] == "environment UPS_TRAINING__BATCH_SIZE"
    resolved = load(**given, overrides=["training.batch_size=7", "training.batch_size=8"])
    assert resolved.settings.training.batch_size == 8
    assert resolved.origins["training.batch_size"] == "--set"
    assert resolved.layers == (
        "settings/default.toml",
        *expected,
        "--config mine.toml",
        "environment UPS_TRAINING__BATCH_SIZE",
        "--set",
    )


def test_xdg_config_home_goes_before_the_home_folder(load, tmp_path):
    for folder, seed in (("home/.config/ups", 1), ("xdg/ups", 2)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "settings.toml").write_text(f"seed = {seed}\n")
    resolved = load(env={"XDG_CONFIG_HOME": str(tmp_path / "xdg")})
    assert resolved.settings.seed == 2
    assert resolved.origins["seed"] == str(tmp_path / "xdg/ups/settings.toml")
    assert load(env={"XDG_CONFIG_HOME": "relative"}).settings.seed == 1


def test_a_stage_takes_what_it_leaves_unset_from_training_and_says_so(load, tmp_path):
    (tmp_path / "ups.toml").write_text("[training.optimizer]\nlr = 0.5\n[stages.operator.optimizer]\nname = 'sgd'\n")
    resolved = load(overrides=["training.patience=4", "stages.operator.patience="])
    operator = resolved.settings.stages.operator
    assert (operator.optimizer.lr, operator.optimizer.name, operator.patience) == (0.5, "sgd", 4)
    assert resolved.origins["stages.operator.optimizer.lr"] == "training.optimizer.lr (ups.toml)"
    assert resolved.origins["stages.operator.optimizer.name"] == "ups.toml"
    assert resolved.origins["stages.operator.patience"] == "training.patience (--set)"
    assert resolved.origins["stages.operator.scheduler.t_max"] == "unset"


def test_an_empty_or_null_value_unsets_what_lower_layers_said(load, tmp_path):
    (tmp_path / "ups.toml").write_text("data.path = 'a.h5'\nlatent.tokens = 3\n")
    (tmp_path / "old.yaml").write_text("latent:\n  tokens: null\ntraining:\n")
    resolved = load(env={"UPS_DATA__PATH": ""}, config=Path("old.yaml"))
    assert (resolved.settings.data.path, resolved.settings.latent.tokens) == (None, None)
    assert resolved.origins["data.path"] == "environment UPS_DATA__PATH"
    assert resolved.origins["latent.tokens"] == "--config old.yaml"


def test_a_whole_table_given_as_one_value_merges_too(load):
    resolved = load(
        env={"UPS_TRAINING": "{batch_size = 3, optimizer = {lr = 0.5}}", "UPS_TRAINING__BATCH_SIZE": "4"},
        overrides=["training.optimizer={momentum=0.5}"],
    )
    training = resolved.settings.training
    assert (training.batch_size, training.optimizer.lr, training.optimizer.momentum) == (4, 0.5, 0.5)
    assert training.optimizer.name == "adamw"


def test_environment_variables_of_dynaconf_and_of_others_change_nothing(load, monkeypatch, tmp_path):
    expected = load().settings
    (tmp_path / "foreign.toml").write_text("seed = 99\n")
    (tmp_path / "dynaconf_hooks.py").write_text("def post(settings): raise RuntimeError\n")
    for name, value in {
        "SETTINGS_FILE_FOR_DYNACONF": str(tmp_path / "foreign.toml"),
        "MERGE_ENABLED_FOR_DYNACONF": "false",
        "DYNACONF_UPS": "{}",
        "DYNACONF_SEED": "98",
        "ENV_FOR_DYNACONF": "production",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    others = {"UPS_DEBUG": "1", "UPS_PORT": "80", "UPS_SERVICE_HOST": "h", "UPSNAME": "x", "UPS_PDEBENCH_BURGERS": "f"}
    assert load(env=others).settings == expected


@pytest.mark.parametrize("text", ["no", "None", "007", "42", "2024-01-01", "true", "@read_file /etc/passwd", "items"])
def test_a_setting_that_holds_text_takes_it_as_it_stands(load, tmp_path, text):
    assert load(overrides=[f"runs.name={text}"]).settings.runs.name == text
    assert load(env={"UPS_RUNS__NAME": text}).settings.runs.name == text
    (tmp_path / "ups.toml").write_text(f'runs.name = "{text}"\n')
    assert load().settings.runs.name == text


def test_quotes_around_text_on_the_command_line_are_toml(load):
    assert load(overrides=['runs.name="a b"']).settings.runs.name == "a b"
    assert load(overrides=["data.path=/a b/c=d#e.h5"]).settings.data.path == "/a b/c=d#e.h5"
    assert load(overrides=["runs.name=1\nseed = 5"]).settings.runs.name == "1\nseed = 5"


def test_missing_optional_layers_are_passed_over_and_missing_explicit_ones_are_errors(load):
    with pytest.raises(SettingsError, match=re.escape("--config none.toml: there is no such file")):
        load(config=Path("none.toml"))
    with pytest.raises(SettingsError, match="there is no preset smoek; the nearest is smoke"):
        load(preset="smoek")


def test_every_preset_is_valid_and_says_what_it_is(load):
    known = layers.presets()
    assert [preset.name for preset in known] == ["advection1d", "burgers1d", "heat2d", "smoke"]
    for preset in known:
        assert len(preset.summary) > 20
        assert f"preset {preset.name}" in load(preset=preset.name).origins.values()


def test_built_in_layers_are_found_in_a_wheel_as_well(monkeypatch, tmp_path):
    checkout = layers.builtin_folder()
    assert (checkout / "default.toml").is_file()
    packaged = tmp_path / "ups_engine/config/builtin"
    packaged.mkdir(parents=True)
    monkeypatch.setattr(layers, "__file__", str(packaged.parent / "layers.py"))
    assert layers.builtin_folder() == packaged


def test_settings_are_frozen(load):
    settings = load().settings
    with pytest.raises(ValueError, match="frozen"):
        settings.training.batch_size = 3
