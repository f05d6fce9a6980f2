"""Tables merge, lists and scalars replace, the highest layer wins, its origin names it: for any layers."""

import json
import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.config.archive import value_at
from ups_engine.config.layers import load_settings
from ups_engine.config.notation import toml_value

TEXT = st.sampled_from(
    ["no", "None", "007", "@int 3", "@reset", "items", "copy", "a b", "ünï", "dynaconf_merge", "1e3"]
)
LISTS = st.lists(st.integers(2, 9), max_size=3)
VALUES = {
    "seed": st.integers(0, 99),
    "runs.name": TEXT,
    "data.fields": st.lists(TEXT, max_size=3),
    "data.exclude": LISTS,
    "data.generate.parameters.nu": st.floats(1e-6, 1.0),
    "latent.residency": st.sampled_from(["auto", "ram", "disk", "on_the_fly"]),
    "training.batch_size": st.integers(1, 99),
    "training.compile": st.booleans(),
    "training.optimizer.lr": st.floats(1e-9, 1.0),
    "training.optimizer.betas": st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)).map(list),
    "stages.operator.batch_size": st.integers(1, 99),
    "stages.operator.optimizer.lr": st.floats(1e-9, 1.0),
    "stages.consistency_distill.tau_schedule": LISTS,
}
FALLBACKS = {key: f"training.{key.removeprefix('stages.operator.')}" for key in VALUES if "operator" in key}
LAYER = st.fixed_dictionaries({}, optional=VALUES)
FILES = {"~/.config/ups/settings.toml": ".config/ups/settings.toml", "ups.toml": "ups.toml", "ups.local.toml": None}


def nested(values: dict[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, value in values.items():
        *tables, name = key.split(".")
        branch = tree
        for table in tables:
            branch = branch.setdefault(table, {})  # type: ignore[assignment]
        branch[name] = value
    return tree


def toml(values: dict[str, object]) -> str:
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in values.items())


WRITERS = {
    "toml": toml,
    "yaml": lambda values: yaml.safe_dump(nested(values), allow_unicode=True),
    "json": lambda values: json.dumps(nested(values)),
}


@settings(deadline=None, max_examples=80)
@given(
    files=st.tuples(LAYER, LAYER, LAYER),
    config=LAYER,
    suffix=st.sampled_from(sorted(WRITERS)),
    environment=LAYER,
    overrides=LAYER,
)
def test_tables_merge_lists_and_scalars_replace_and_the_origin_names_the_layer(
    files, config, suffix, environment, overrides
):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = load_settings(folder=folder, home=folder, env={})
        (folder / ".config/ups").mkdir(parents=True)
        for values, (shown, path) in zip(files, FILES.items(), strict=True):
            (folder / (path or shown)).write_text(toml(values), "utf-8")
        (folder / f"mine.{suffix}").write_text(WRITERS[suffix](config), "utf-8")
        variables = {f"UPS_{key.replace('.', '__').upper()}": (key, value) for key, value in environment.items()}
        resolved = load_settings(
            config=Path(f"mine.{suffix}"),
            overrides=[f"{key}={toml_value(value)}" for key, value in overrides.items()],
            folder=folder,
            home=folder,
            env={variable: toml_value(value) for variable, (_, value) in variables.items()},
        )
    layers = [
        *zip(FILES, files, strict=True),
        (f"--config mine.{suffix}", config),
        *((f"environment {variable}", {key: value}) for variable, (key, value) in variables.items()),
        ("--set", overrides),
    ]
    winners = {key: (layer, value) for layer, values in layers for key, value in values.items()}
    for key in resolved.origins:
        if key in winners:
            assert (resolved.origins[key], value_at(resolved.settings, key)) == winners[key]
        elif FALLBACKS.get(key) in winners:
            layer, value = winners[FALLBACKS[key]]
            assert resolved.origins[key] == f"{FALLBACKS[key]} ({layer})"
            assert value_at(resolved.settings, key) == value
        elif not key.startswith("stages."):
            assert resolved.origins[key] == base.origins[key]
            assert value_at(resolved.settings, key) == value_at(base.settings, key)
