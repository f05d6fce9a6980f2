"""What a run archives reads back exactly, and fingerprints change with what they cover only."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.config.archive import settings_fingerprint, settings_from_toml, settings_to_toml, value_at
from ups_engine.config.layers import builtin_folder, load_settings
from ups_engine.config.schema import Settings
from ups_engine.errors import SettingsError

DEFAULTS = load_settings(folder=builtin_folder(), home=builtin_folder(), env={}).settings
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
COUNTS = st.integers(1, 2**70)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@st.composite
def any_settings(draw: st.DrawFn) -> Settings:
    tree = DEFAULTS.model_dump()
    tree["seed"] = draw(st.integers())
    tree["data"] |= {"path": draw(st.none() | TEXT), "fields": draw(st.lists(TEXT)), "dt": draw(st.none() | POSITIVE)}
    names = st.text("abcNU_-019", min_size=1)
    tree["data"]["generate"]["parameters"] = draw(
        st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False))
    )
    tree["latent"]["tokens"] = draw(st.none() | COUNTS)
    tree["runs"] |= {"name": draw(st.none() | TEXT), "root": draw(TEXT)}
    tree["training"]["patience"] = draw(st.none() | COUNTS)
    operator = tree["stages"]["operator"]
    operator["patience"] = draw(st.none() | COUNTS)
    operator["optimizer"]["lr"] = draw(POSITIVE)
    starts = sorted(draw(st.sets(st.integers(0, operator["epochs"] - 1))))
    operator["curriculum"] = [{"from_epoch": start, "rollout_horizon": draw(COUNTS)} for start in starts]
    return Settings.model_validate(tree)


@settings(deadline=None, max_examples=150)
@given(any_settings())
def test_archived_settings_read_back_exactly(original):
    text = settings_to_toml(original)
    again = settings_from_toml(text, "settings.toml")
    assert again == original
    assert settings_to_toml(again) == text


def test_what_is_unset_is_absent_from_the_archive(load):
    resolved = load()
    assert "patience" not in settings_to_toml(resolved.settings).partition("[training.scheduler]")[0]
    assert json.loads(json.dumps(resolved.origins)) == resolved.origins


def test_an_archive_that_lacks_or_holds_keys_that_its_version_does_not_is_refused_by_key(load):
    text = settings_to_toml(load().settings)
    with pytest.raises(SettingsError, match=r"latent\.dim has no value in any layer"):
        settings_from_toml(text.replace("\ndim = 16", ""), "runs/a/settings.toml")
    with pytest.raises(
        SettingsError, match=r"runs/a/settings\.toml, line 3: seeds is no known key; the nearest is seed\n"
    ):
        settings_from_toml(text.replace("seed = 0", "seed = 0\nseeds = 1", 1), "runs/a/settings.toml")


def test_a_fingerprint_depends_on_its_sections_and_on_nothing_else(load):
    def fingerprint(*overrides: str, sections: tuple[str, ...] = ("latent", "models.encoder")) -> str:
        return settings_fingerprint(load(overrides=overrides).settings, sections)

    assert len(fingerprint()) == 64
    assert fingerprint() == fingerprint("seed=5", "training.batch_size=3")
    assert fingerprint() == fingerprint(sections=("models.encoder", "latent"))
    assert fingerprint() != fingerprint("latent.dim=8")
    assert fingerprint() != fingerprint("models.encoder.depth=1")
    assert fingerprint(sections=("seed",)) != fingerprint("seed=5", sections=("seed",))
    with pytest.raises(KeyError):
        fingerprint(sections=("latents",))


def test_a_value_is_found_by_its_dotted_path(load):
    settings = load().settings
    assert value_at(settings, "training.optimizer.lr") == settings.training.optimizer.lr
    assert value_at(settings, "latent") == settings.latent.model_dump(mode="json")
