"""Parameters of a PDE: a table of any names, which every layer may extend."""

import re
from pathlib import Path

import pytest

from ups_engine.config.archive import settings_from_toml, settings_to_toml, value_at
from ups_engine.config.template import settings_template
from ups_engine.errors import SettingsError

TABLE = "data.generate.parameters"
LAYERS = {
    "--set": {"overrides": [f"{TABLE}.kappa=0.5"]},
    "--set of the table": {"overrides": [f"{TABLE}={{kappa=0.5}}"]},
    "environment UPS_DATA__GENERATE__PARAMETERS__KAPPA": {"env": {"UPS_DATA__GENERATE__PARAMETERS__KAPPA": "0.5"}},
    "--config a.yaml": {"config": Path("a.yaml")},
}


@pytest.mark.parametrize("layer", LAYERS)
def test_entries_of_all_layers_merge_and_each_has_an_origin(load, tmp_path, layer):
    (tmp_path / "ups.toml").write_text(f"[{TABLE}]\nmu = 2\nkappa = 4\n")
    (tmp_path / "a.yaml").write_text("data: {generate: {parameters: {kappa: 0.5}}}")
    resolved = load(**LAYERS[layer])
    assert resolved.settings.data.generate.parameters == {"mu": 2.0, "kappa": 0.5}
    assert resolved.origins[f"{TABLE}.mu"] == "ups.toml"
    assert resolved.origins[f"{TABLE}.kappa"] == layer.removesuffix(" of the table")
    assert TABLE not in resolved.origins
    assert value_at(resolved.settings, f"{TABLE}.kappa") == 0.5
    assert settings_from_toml(settings_to_toml(resolved.settings), "settings.toml") == resolved.settings


def test_without_entries_the_table_is_unset(load):
    assert load().settings.data.generate.parameters == {}
    assert load().origins[TABLE] == "unset"


def test_an_empty_value_unsets_an_entry_and_an_empty_section_sets_nothing(load, tmp_path):
    (tmp_path / "ups.toml").write_text(f"[{TABLE}]\nmu = 2\nkappa = 4\n")
    (tmp_path / "a.yaml").write_text("data: {generate: {parameters: }}")
    resolved = load(config=Path("a.yaml"), overrides=[f"{TABLE}.mu="])
    assert resolved.settings.data.generate.parameters == {"kappa": 4.0}
    assert f"{TABLE}.mu" not in resolved.origins


@pytest.mark.parametrize(
    ("assignment", "mistake"),
    [
        (f"{TABLE}.nu=thick", f'{TABLE}.nu = "thick" (--set) must be a number'),
        (f"{TABLE}.nu=nan", f"{TABLE}.nu = nan (--set) must be a number"),
        (f"{TABLE}.nu=true", f"--set: {TABLE}.nu = true must be a number"),
        (f"{TABLE}=3", f"--set: {TABLE} is a table and cannot be 3; set the keys in it, such as {TABLE}.NAME"),
        (f"{TABLE}.a b=3", f"--set: {TABLE}.a b is no known key; the nearest is {TABLE}"),  # nor an archive's
        (f"{TABLE}.a.b=3", f"{TABLE}.a = {{b = 3}} (--set) must be a number"),
        ("data.generate.parameter.nu=3", f"--set: data.generate.parameter is no known key; the nearest is {TABLE}"),
    ],
)
def test_what_is_no_number_or_no_name_is_refused_in_one_line(load, assignment, mistake):
    with pytest.raises(SettingsError, match=f"^{re.escape(mistake)}\n"):
        load(overrides=[assignment])


def test_a_template_sets_the_entries_that_were_asked_for_and_shows_the_others(load, tmp_path):
    user = tmp_path / "home/.config/ups/settings.toml"
    user.parent.mkdir(parents=True)
    user.write_text(f"[{TABLE}]\nmu = 2\n")
    lines = settings_template(load(overrides=[f"{TABLE}.kappa=0.5"])).splitlines()
    assert [line for line in lines if line.lstrip("#").startswith("parameters")] == [
        "#parameters.mu = 2.0",
        "parameters.kappa = 0.5",
    ]
    (tmp_path / "ups.toml").write_text("\n".join(lines))
    assert load().settings.data.generate.parameters == {"mu": 2.0, "kappa": 0.5}


@pytest.mark.parametrize(
    ("task", "kept", "notice"),
    [
        ("burgers1d", {"nu": 0.2}, "--set: data.generate.nu is now data.generate.parameters.nu"),
        ("advection1d", {}, "--set: data.generate.nu has no effect: it is for burgers1d alone"),
    ],
)
def test_a_parameter_under_its_earlier_name_is_that_of_the_task_that_had_it(load, task, kept, notice):
    resolved = load(overrides=["data.generate.nu=0.2", f"data.task={task}"])  # whichever comes first
    assert resolved.settings.data.generate.parameters == kept
    assert resolved.notices == (notice,)
