"""The commented ups.toml sets what was asked for, and shows every other value truthfully."""

import re
import tomllib

from ups_engine.config.template import settings_template


def test_a_template_of_the_defaults_sets_nothing_and_shows_them_all(load, tmp_path):
    defaults = load()
    text = settings_template(defaults)
    assert not any(tomllib.loads(text)["training"].values())
    shown = re.sub(r"^#(?=\w+ = )(?!\w+ =  # unset)", "", text, flags=re.MULTILINE)
    (tmp_path / "ups.toml").write_text(shown)
    resolved = load()
    assert resolved.settings == defaults.settings
    assert "settings/default.toml" not in resolved.origins.values()


def test_a_template_holds_what_preset_file_and_assignments_set(load, tmp_path):
    given = {"preset": "smoke", "overrides": ["stages.operator.optimizer.lr=1e-5", "data.path=/a b.h5"]}
    wanted = load(**given).settings
    (tmp_path / "ups.toml").write_text(settings_template(load(**given)))
    assert load().settings == wanted


def test_every_setting_stands_in_the_template_once_with_what_it_accepts(load):
    text = settings_template(load())
    assert text.count("#batch_size = 64") == 2  # training and evaluation; the stages take training's
    assert "# Accepts a whole number above 0, or unset.\n#threads =  # unset" in text
    assert "# Accepts one of adam, adamw, sgd." in text
    assert max(map(len, text.split("\n"))) <= 120
