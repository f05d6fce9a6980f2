"""Options that several commands share, and the settings that they resolve to."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli.output import notice

if TYPE_CHECKING:
    from ups_engine.config.layers import ResolvedSettings
    from ups_engine.runs.directory import RunDirectory

Preset = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="Start from a built-in set (ups config presets).")
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A TOML, YAML or JSON settings file, over ups.toml."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one key, over everything else; repeatable."),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's name or its folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def resolve_settings(
    preset: str | None, config: Path | None, overrides: Sequence[str] | None, *, quiet: bool = False
) -> "ResolvedSettings":
    """Load all layers of settings for the working folder and say on stderr which earlier keys were translated.

    Args:
        preset: value of `--preset`.
        config: value of `--config`.
        overrides: values of `--set`.
        quiet: leave the notices to the caller.

    Raises:
        SettingsError: a layer is missing or holds a mistake.
    """
    from ups_engine.config.layers import load_settings

    resolved = load_settings(preset=preset, config=config, overrides=overrides or ())
    if not quiet:
        for line in resolved.notices:
            notice(line)
    return resolved


def runs_root() -> Path:
    """The folder of all runs by the settings of the working folder."""
    return Path(resolve_settings(None, None, None).settings.runs.root)


def find_run(reference: str) -> "RunDirectory":
    """The run that a user means.

    Raises:
        RunError: there is no such run.
    """
    from ups_engine.runs.directory import RunDirectory

    return RunDirectory.find(reference, runs_root())


def sure(question: str) -> bool:
    """Ask on stderr; whoever cannot answer has not agreed."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # the end of the input, or Ctrl-C
        notice("")
        return False
