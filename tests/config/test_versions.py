"""Archived settings of every version read with the meaning that they had; newer ones are refused."""

import tomllib
from pathlib import Path
from typing import Annotated, get_type_hints

import pytest

from ups_engine.config import archive
from ups_engine.config.archive import settings_from_toml, settings_to_toml
from ups_engine.config.section import Section, Since
from ups_engine.config.versions import SCHEMA, VERSION
from ups_engine.errors import SettingsError
from ups_engine.formats import FormatError

RECORDED = sorted((Path(__file__).parents[1] / "recorded").rglob("settings.toml"))


def plain(settings):
    """Values as the first version archived them, with its place for the PDE's parameters."""
    values = settings.model_dump(mode="json", exclude_none=True, exclude={"tui"})
    parameters = values["data"]["generate"].pop("parameters")
    return values, parameters


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_runs_of_the_first_version_mean_what_they_meant(path):
    stored = tomllib.loads(path.read_text())
    stored.pop("tui", None)  # which the very first runs archived
    assert SCHEMA not in stored
    generate = stored["data"]["generate"]
    nu, _ = generate.pop("nu"), generate.pop("beta")
    values, parameters = plain(settings_from_toml(path.read_text(), str(path)))
    assert values == stored
    assert parameters == {"nu": nu}, "of burgers1d, and no other PDE's"


@pytest.mark.parametrize(
    ("task", "kept"), [("burgers1d", {"nu": 0.01}), ("advection1d", {"beta": 0.4}), ("darcy2d", {})]
)
def test_of_the_parameters_that_the_first_version_archived_a_task_keeps_its_own(task, kept):
    text = RECORDED[0].read_text().replace('task = "burgers1d"', f'task = "{task}"')
    assert plain(settings_from_toml(text, "settings.toml"))[1] == kept


def test_an_archive_states_its_version_first(load):
    assert settings_to_toml(load().settings).startswith(f"{SCHEMA} = {VERSION}\n")


def test_a_newer_archive_is_refused_with_both_versions(load, tmp_path):
    text = settings_to_toml(load().settings).replace(f"{SCHEMA} = {VERSION}", f"{SCHEMA} = 99")
    with pytest.raises(FormatError, match=rf"runs/a/settings\.toml holds version 99 .* up to version {VERSION}"):
        settings_from_toml(text, "runs/a/settings.toml")
    (tmp_path / "old.toml").write_text(text)
    with pytest.raises(FormatError, match=r"old\.toml holds version 99"):
        load(config=Path("old.toml"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_an_archive_serves_as_a_settings_file(load, path, tmp_path):
    now = settings_from_toml(path.read_text(), str(path))
    (tmp_path / "run.toml").write_text(settings_to_toml(now))
    assert load(config=Path("run.toml")).settings.model_copy(update={"tui": now.tui}) == now


def test_a_key_missing_from_an_archive_that_must_hold_it_is_an_error():
    text = RECORDED[0].read_text().replace("\ncache_dtype", "\n#cache_dtype")
    with pytest.raises(SettingsError, match=r"latent\.cache_dtype has no value"):
        settings_from_toml(text, "settings.toml")


def test_what_came_later_is_absent_from_earlier_archives_and_takes_its_neutral_value(load, monkeypatch):
    """Of settings that are pretended to have come with a later version."""
    later = {
        "training.lambda_decoded": Since(VERSION + 1, neutral=0.0),
        "latent.residency": Since(VERSION + 1, neutral="ram"),
        "stages.steady_prior": Since(VERSION + 1),
    }
    monkeypatch.setattr(archive, "LATER", later)
    text = settings_to_toml(load(overrides=["training.lambda_decoded=3"]).settings)
    lines = [line for line in text.splitlines() if not line.startswith(("lambda_decoded", "residency"))]
    at = next(i for i, line in enumerate(lines) if line == "[stages.steady_prior]")
    end = next(i for i, line in enumerate(lines) if i > at and line == "[stages.evaluation]")
    read = settings_from_toml("\n".join(lines[:at] + lines[end:]), "settings.toml")
    assert (read.training.lambda_decoded, read.latent.residency) == (0.0, "ram")
    assert read.stages.steady_prior.epochs == 0
    assert read.stages.operator == load().settings.stages.operator
    kept = settings_from_toml(text, "settings.toml")
    assert (kept.training.lambda_decoded, kept.latent.residency) == (3.0, "auto"), "what is there counts"


def test_a_later_setting_is_known_by_its_mark():
    class Table(Section):
        steps: Annotated[int, Since(3, neutral=1)]
        """Of something."""

    assert get_type_hints(Table)["steps"] is int
    assert Table.model_fields["steps"].metadata == [Since(3, neutral=1)]


@pytest.mark.parametrize("layer", ["set", "file", "environment", "inline"])
def test_parameters_of_a_pde_are_an_open_table_in_every_layer(load, tmp_path, layer):
    given = {
        "set": {"overrides": ["data.generate.parameters.kappa=0.5"]},
        "inline": {"overrides": ["data.generate.parameters={kappa=0.5}"]},
        "environment": {"env": {"UPS_DATA__GENERATE__PARAMETERS__KAPPA": "0.5"}},
        "file": {},
    }[layer]
    (tmp_path / "ups.toml").write_text(
        "[data.generate.parameters]\nmu = 2\n" + ("kappa = 0.5\n" if layer == "file" else "")
    )
    resolved = load(**given)
    assert resolved.settings.data.generate.parameters == {"mu": 2.0, "kappa": 0.5}
    origin = {"set": "--set", "inline": "--set", "file": "", "environment": "environment UPS_DATA"}[layer]
    assert resolved.origins["data.generate.parameters"].startswith("ups.toml")
    assert origin in resolved.origins["data.generate.parameters"]


def test_a_parameter_that_is_no_number_is_refused_and_one_under_its_earlier_name_is_translated(load):
    with pytest.raises(SettingsError, match=r"data\.generate\.parameters\.nu = \"thick\" must be a number"):
        load(overrides=["data.generate.parameters.nu=thick"])
    resolved = load(overrides=["data.generate.nu=0.002"])
    assert resolved.settings.data.generate.parameters == {"nu": 0.002}
    assert resolved.notices == ("--set: data.generate.nu is now data.generate.parameters.nu",)
