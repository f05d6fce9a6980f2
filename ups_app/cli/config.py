"""The group `ups config`: settings shown, checked and started, and the built-in presets."""

from pathlib import Path
from typing import Annotated

import typer

from ups_app.cli.options import AsJson, Config, Preset, Set, resolve_settings
from ups_app.cli.output import notice, print_json, print_table

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
    origin: Annotated[bool, typer.Option("--origin", help="Print the layer that each value came from.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print every value, as TOML that --config takes back, or beside the layer it came from."""
    resolved = resolve_settings(preset, config, overrides)
    from ups_engine.config.archive import settings_to_toml, value_at
    from ups_engine.config.notation import toml_value

    if as_json:
        print_json({"settings": resolved.settings.model_dump(mode="json"), "origins": resolved.origins})
    elif origin:
        values = {key: value_at(resolved.settings, key) for key in resolved.origins}
        rows = [
            (key, None if value is None else toml_value(value), resolved.origins[key]) for key, value in values.items()
        ]
        print_table(("key", "value", "origin"), rows)
    else:
        print(settings_to_toml(resolved.settings), end="")


@app.command()
def validate(preset: Preset = None, config: Config = None, overrides: Set = None, as_json: AsJson = False) -> None:
    """Check all layers; exit code 2 and a line for every mistake when they do not make valid settings."""
    from ups_engine.errors import SettingsError

    try:
        resolved = resolve_settings(preset, config, overrides, quiet=as_json)
    except SettingsError as problem:
        if not as_json:
            raise
        print_json({"valid": False, "mistakes": problem.message.split("\n"), "hint": problem.hint})
        raise typer.Exit(problem.exit_code) from None
    if as_json:
        print_json({"valid": True, "layers": resolved.layers, "notices": resolved.notices})
    else:
        print(f"valid: {', '.join(resolved.layers)}")


@app.command()
def presets(as_json: AsJson = False) -> None:
    """List the built-in presets."""
    from ups_engine.config.layers import presets as known

    if as_json:
        print_json([{"name": p.name, "summary": p.summary, "path": str(p.path)} for p in known()])
    else:
        print_table(("preset", "summary"), [(preset.name, preset.summary) for preset in known()])


@app.command()
def init(preset: Preset = None, config: Config = None, overrides: Set = None) -> None:
    """Write a commented ups.toml into this folder; values of --preset, --config and --set are set in it."""
    from ups_engine.errors import UsageError

    path = Path("ups.toml")
    taken = UsageError(f"{path} exists already", "edit it, or move it away first")
    if path.exists():
        raise taken
    resolved = resolve_settings(preset, config, overrides)
    from ups_engine.config.template import settings_template

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(settings_template(resolved))
    except FileExistsError:
        raise taken from None
    except OSError as problem:
        path.unlink(missing_ok=True)  # half a file would be read as a whole one
        raise UsageError(f"{path} cannot be written: {problem.strerror}", "try another folder") from None
    notice(f"wrote {path}")
