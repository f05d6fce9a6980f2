"""Whatever stands in a file, a variable or after `--set`: valid settings or a SettingsError, nothing else."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.config.layers import load_settings
from ups_engine.config.paths import SETTINGS
from ups_engine.errors import SettingsError

KNOWN = [
    "schema",
    "seed",
    "data.path",
    "data",
    "training.batch_size",
    "training",
    "optimizer",
    "lr",
    "stages",
    "operator",
]
MARKS = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ": ",
    " = ",
    ",",
    "-",
    "- ",
    "&a ",
    "*a",
    "<<",
    "#",
    "? ",
    "|",
    '"',
    "'",
    "\n",
    "\n  ",
    " ",
]
VALUES = [
    "null",
    "true",
    "1e400",
    "2024-99-99",
    "1" * 5000,
    "!!python/object:x",
    "\t",
    "\x00",
    "~",
    "!!int x",
    "!!set {}",
]
PIECES = st.sampled_from(KNOWN) | st.sampled_from(MARKS) | st.sampled_from(VALUES)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(PIECES, max_size=12).map("".join)
KEYS = st.sampled_from(
    [*SETTINGS, "training", "stages.operator", "optimizer", "training.amp", "data.generate.parameters.nu"]
) | ANYTHING.filter(lambda key: len(key) < 100)


@settings(deadline=None, max_examples=150)
@given(suffix=st.sampled_from(["toml", "yaml", "json"]), text=ANYTHING)
def test_any_file_is_settings_or_a_settings_error(suffix, text):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"mine.{suffix}").write_text(text, "utf-8")
        try:
            load_settings(config=Path(f"mine.{suffix}"), folder=folder, home=folder, env={})
        except SettingsError as error:
            assert error.message


@settings(deadline=None, max_examples=150)
@given(key=KEYS, text=ANYTHING | st.text())
def test_any_assignment_is_a_setting_or_a_settings_error(key, text):
    for given_ in ({"overrides": [f"{key}={text}"]}, {"env": {f"UPS_{key.upper().replace('.', '__')}": text}}):
        try:
            load_settings(**{"folder": Path("/nowhere"), "home": Path("/nowhere"), "env": {}, **given_})
        except SettingsError as error:
            assert error.message


@pytest.mark.parametrize(
    "value", ["2024-99-99", "1" * 5000, "!!timestamp x", "!!int x", "!!float x", "!!binary x", "[[[1]]]"]
)
@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
def test_a_value_that_its_parser_chokes_on_is_a_settings_error(load, tmp_path, suffix, value):
    shape = {"toml": "seed = {}", "yaml": "seed: {}", "json": '{{"seed": {}}}'}[suffix]
    (tmp_path / f"a.{suffix}").write_text(shape.format(value))
    with pytest.raises(SettingsError):
        load(config=Path(f"a.{suffix}"))
    with pytest.raises(SettingsError):
        load(overrides=[f"seed={value}"])


def test_a_yaml_table_inside_itself_ends(load, tmp_path):
    (tmp_path / "a.yaml").write_text("training: &a\n  optimizer: *a\n")
    with pytest.raises(SettingsError):
        load(config=Path("a.yaml"))
