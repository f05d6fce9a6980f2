"""All layers of settings, merged by dynaconf into one validated model that knows where every value came from."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dynaconf import Dynaconf
from dynaconf.loaders.base import SourceMetadata
from pydantic import ValidationError

from ups_engine.config.assignments import environment_layers, set_layer
from ups_engine.config.files import Layer, read_file
from ups_engine.config.layer import Findings, Sealed, chosen_task, nested, seal, versioned
from ups_engine.config.mistakes import explain, holder
from ups_engine.config.paths import OPEN_TABLES, SETTINGS
from ups_engine.config.schema import Settings
from ups_engine.config.secrets import FILE, Secrets, read_secrets
from ups_engine.errors import SettingsError
from ups_engine.formats import FormatError

DEFAULTS = "settings/default.toml"
UNSET = "unset"
HINT = "`ups config show --origin` lists every key, its value and its layer; `ups config init` explains each"


@dataclass(frozen=True)
class Preset:
    """A built-in set of settings: its name for `--preset`, its first comment line, its file."""

    name: str
    summary: str
    path: Path


@dataclass(frozen=True)
class ResolvedSettings:
    """What all layers together say.

    Args:
        settings: the frozen, validated model; use nothing but this.
        origins: for every setting's dotted path, and for every entry of an open table that has some, the layer its
            value came from, such as `settings/default.toml`, `preset smoke`, `ups.toml`, `--config old.yaml`,
            `environment UPS_SEED`, `--set`. A stage's value that fell back to `training` reads
            `training.batch_size (ups.toml)`; one that no layer sets reads `unset`.
        notices: translations of earlier keys, a sentence each.
        layers: the layers that were read, lowest first.
        secrets: never printed, never archived.
    """

    settings: Settings
    origins: dict[str, str]
    notices: tuple[str, ...]
    layers: tuple[str, ...]
    secrets: Secrets


def builtin_folder() -> Path:
    """The built-in layers: inside the package when installed from a wheel, `settings/` beside it in a checkout."""
    packaged = Path(__file__).parent / "builtin"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "settings"


def presets() -> list[Preset]:
    """All built-in presets by name."""
    paths = sorted((builtin_folder() / "presets").glob("*.toml"))
    return [Preset(path.stem, path.read_text("utf-8").partition("\n")[0].removeprefix("# "), path) for path in paths]


def load_settings(
    *,
    preset: str | None = None,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> ResolvedSettings:
    """Merge all layers, low to high, and validate the result.

    Args:
        preset: name of a built-in preset.
        config: a TOML, YAML or JSON file, relative to `folder`; it must exist.
        overrides: `KEY=VALUE` each, the last one strongest.
        folder: holds `ups.toml`, `ups.local.toml` and `.secrets.toml`; None means the working folder.
        env: the environment; None means the process's own.
        home: the user's folder; None means the process's own. XDG_CONFIG_HOME of `env` goes before its `.config`.

    Raises:
        SettingsError: a file, preset or key is unknown, or a value is not allowed; a line for every mistake.
    """
    folder = Path.cwd() if folder is None else folder
    env = os.environ if env is None else env
    user = _user_folder(env, home)
    layers = [
        *_builtin_layers(preset),
        *_file_layers(folder, config, user),
        *environment_layers(env),
        *map(set_layer, overrides),
    ]
    findings = Findings()
    values = _merge(layers, findings)
    settings = validated(values, findings)
    private = [place / FILE for place in ([user[0]] if user else []) + [folder]]
    secrets = read_secrets(filter(_is_file, private), env)
    names = tuple(dict.fromkeys(layer.name for layer in layers))
    return ResolvedSettings(settings, _origins(values), tuple(findings.notices), names, secrets)


def _user_folder(env: Mapping[str, str], home: Path | None) -> tuple[Path, str] | None:
    """The folder of the user's own settings, as a path and as origins show it."""
    xdg = Path(env.get("XDG_CONFIG_HOME", ""))
    if xdg.is_absolute():  # the specification ignores relative ones
        return xdg / "ups", str(xdg / "ups")
    try:
        return (Path.home() if home is None else home) / ".config" / "ups", "~/.config/ups"
    except RuntimeError:  # a container's user may have no home
        return None


def _builtin_layers(preset: str | None) -> Iterator[Layer]:
    yield read_file(builtin_folder() / "default.toml", DEFAULTS)
    if preset is not None:
        known = {entry.name: entry.path for entry in presets()}
        if preset not in known:
            near = difflib.get_close_matches(preset, known, n=1, cutoff=0.0)
            raise SettingsError(
                f"there is no preset {preset}; the nearest is {near[0]}",
                "`ups config presets` lists them; a settings file of your own goes to --config",
            )
        yield read_file(known[preset], f"preset {preset}")


def _file_layers(folder: Path, config: Path | None, user: tuple[Path, str] | None) -> Iterator[Layer]:
    optional = [(folder / name, name) for name in ("ups.toml", "ups.local.toml")]
    if user is not None:
        optional.insert(0, (user[0] / "settings.toml", f"{user[1]}/settings.toml"))
    for path, name in optional:
        if _is_file(path):
            yield _file_layer(name, path, name)
    if config is not None:
        if not _is_file(folder / config):
            raise SettingsError(f"--config {config}: there is no such file", "check the path, relative to this folder")
        yield _file_layer(f"--config {config}", folder / config, str(config))


def _file_layer(name: str, path: Path, where: str) -> Layer:
    try:
        return versioned(replace(read_file(path, where), name=name), where)
    except FormatError as newer:
        raise SettingsError(newer.message, newer.hint) from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be looked into holds no layer
        return False


def _merge(layers: Sequence[Layer], findings: Findings) -> dict[str, Sealed]:
    """Merge sealed layers in dynaconf, each under its own source; the highest that holds a setting counts.

    dynaconf's own loaders, hooks and environment switches stay out: they read files and variables that no layer
    names, upper-case keys and evaluate `@` commands. Everything lives under one key, so that none of ours
    meets one of its own.
    """
    stack = Dynaconf(dynaconf_skip_loaders=True, dynaconf_skip_validators=True, load_dotenv=False)
    task = chosen_task(layers)
    for layer in layers:
        values = seal(layer, findings, task)
        stack.set("ups", values, loader_identifier=SourceMetadata("ups", layer.name), merge=True, validate=False)
    return dict(stack["ups"])


def validated(values: Mapping[str, Sealed], findings: Findings) -> Settings:
    """Turn merged layers into the settings model.

    Raises:
        SettingsError: with a line for every mistake, those found in keys before those found in values.
    """
    mistakes = findings.mistakes
    try:
        settings = Settings.model_validate(nested(values))
    except ValidationError as error:
        mistakes = mistakes + explain(error, values)
    if mistakes:
        raise SettingsError("\n".join(mistakes), HINT)
    return settings


def _origins(values: Mapping[str, Sealed]) -> dict[str, str]:
    origins: dict[str, str] = {}
    for key in SETTINGS:
        if key in OPEN_TABLES:
            entries = [path for path in values if path.startswith(f"{key}.") and values[path].value is not None]
            origins |= {path: values[path].layer for path in entries} or {key: UNSET}
            continue
        effective, sealed = holder(key, values)
        layer = UNSET if sealed is None else sealed.layer
        origins[key] = layer if effective == key or sealed is None else f"{effective} ({layer})"
    return origins
