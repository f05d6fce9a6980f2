"""Archived settings of every version read with the meaning that they had; newer ones are refused."""

import tomllib
from pathlib import Path
from typing import Annotated, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.config import archive
from ups_engine.config.archive import settings_from_toml, settings_to_toml, value_at
from ups_engine.config.layers import builtin_folder, load_settings
from ups_engine.config.migrations import SCHEMA, VERSION
from ups_engine.config.notation import toml_value
from ups_engine.config.paths import SETTINGS
from ups_engine.config.section import Section, Since
from ups_engine.errors import SettingsError
from ups_engine.formats import FormatError

RECORDED = sorted((Path(__file__).parents[1] / "recorded").rglob("settings.toml"))


def as_toml(tree, path=""):
    """Nested tables as TOML, by dotted keys."""
    lines = []
    for name, value in tree.items():
        nested = isinstance(value, dict)
        lines.append(as_toml(value, f"{path}{name}.") if nested else f"{path}{name} = {toml_value(value)}\n")
    return "".join(lines)


def plain(settings):
    """Values as the first version archived them, with its place for the PDE's parameters."""
    values = settings.model_dump(mode="json", exclude_none=True, exclude={"tui"})
    assert values["data"].pop("boundary") == {}, "which came later, unset"
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
    with pytest.raises(FormatError, match=rf"runs/a/settings\.toml.* is of version 99; .* up to version {VERSION}"):
        settings_from_toml(text, "runs/a/settings.toml")
    (tmp_path / "old.toml").write_text(text)
    with pytest.raises(SettingsError, match=rf"old\.toml.* is of version 99; .* up to version {VERSION}"):
        load(config=Path("old.toml"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_an_archive_serves_as_a_settings_file(load, path, tmp_path):
    now = settings_from_toml(path.read_text(), str(path))
    (tmp_path / "run.toml").write_text(settings_to_toml(now))
    assert load(config=Path("run.toml")).settings.model_copy(update={"tui": now.tui}) == now
    of_the_first_version = load(config=path)
    assert of_the_first_version.settings.model_copy(update={"tui": now.tui}) == now
    assert [notice.partition(": ")[2] for notice in of_the_first_version.notices] == [
        "data.generate.nu is now data.generate.parameters.nu",
        "data.generate.beta has no effect: it is for advection1d alone",
    ]


def test_an_archive_is_held_to_the_keys_of_its_own_version(load, tmp_path):
    text = settings_to_toml(load().settings)
    with pytest.raises(SettingsError, match=r"data\.generate\.nu is no known key"):
        settings_from_toml(text.replace("[data.generate]\n", "[data.generate]\nnu = 0.1\n"), "settings.toml")
    (tmp_path / "run.toml").write_text(f"{SCHEMA} = 1\n[data.generate]\nnu = 0.1\n[training]\namp = true\n")
    with pytest.raises(SettingsError, match=r"training\.amp is no known key") as caught:
        load(config=Path("run.toml"))
    assert "data.generate.nu" not in caught.value.message


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_archive_of_the_first_version_reads_with_the_values_that_it_holds(data):
    stored = tomllib.loads(data.draw(st.sampled_from(RECORDED)).read_text())
    stored.pop("tui", None)
    stored["seed"] = data.draw(st.integers())
    stored["data"]["task"] = task = data.draw(st.sampled_from(["burgers1d", "advection1d", "darcy2d"]))
    stored["data"]["root"] = data.draw(st.text(st.characters(exclude_categories=["Cs"])))
    numbers = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
    stored["training"]["optimizer"]["lr"] = data.draw(numbers)
    of_task = {"burgers1d": "nu", "advection1d": "beta"}.get(task)
    for name in ("nu", "beta"):
        stored["data"]["generate"][name] = data.draw(numbers)
    read = settings_from_toml(as_toml(stored), "settings.toml")
    archived = stored["data"]["generate"]
    kept = {name: value for name, value in archived.items() if name in ("nu", "beta")}
    stored["data"]["generate"] = {name: value for name, value in archived.items() if name not in kept}
    values, parameters = plain(read)
    assert values == stored
    assert parameters == {name: value for name, value in kept.items() if name == of_task}
    assert settings_from_toml(settings_to_toml(read), "settings.toml") == read


@settings(deadline=None, max_examples=60)
@given(missing=st.sets(st.sampled_from(sorted(path for path in SETTINGS if not path.startswith("tui.")))))
def test_what_came_later_and_is_missing_is_neutral_whichever_settings_these_are(missing):
    now = load_settings(folder=builtin_folder(), home=builtin_folder(), env={}).settings
    later = {path: Since(VERSION + 1, neutral=value_at(now, path)) for path in missing}
    tree = tomllib.loads(settings_to_toml(now))
    for path in missing:
        *tables, name = path.split(".")
        table = tree
        for inner in tables:
            table = table.get(inner, {})
        table.pop(name, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "LATER", later)
        assert settings_from_toml(as_toml(tree), "settings.toml") == now


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
