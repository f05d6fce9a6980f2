"""`ups tui`: the terminal interface."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ups_app.cli.options import resolve_settings
from ups_app.cli.output import notice

if TYPE_CHECKING:
    from ups_engine.runs.directory import RunDirectory

_Theme = Literal["dark", "light", "high-contrast"]
_Screen = Literal["runs", "launch", "dashboard", "cache", "results", "settings", "log"]


def tui(
    reference: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run's name or its folder; without, the newest live one."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Look only: offer nothing that changes a run.")
    ] = False,
    theme: Annotated[_Theme | None, typer.Option("--theme", help="Colours, over the setting tui.theme.")] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Show nothing but ASCII.")] = False,
) -> None:
    """Start, watch and control runs in the terminal. Leaving it leaves the runs running."""
    from ups_engine.errors import UsageError

    resolved = resolve_settings(None, None, None)
    root = Path(resolved.settings.runs.root)
    run = _find(reference, root)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("ups tui needs a terminal", "`ups runs show RUN` tells the same in plain lines")
    from ups_app.tui.app import UpsApp
    from ups_app.tui.looks import wants_ascii

    chosen = resolved.settings.tui.ascii
    plain = ascii_only or (wants_ascii() if chosen is None else chosen)
    app = UpsApp(resolved, run, read_only=read_only, theme=theme, ascii=plain)
    app.run()
    if app.followed is not None:
        notice(f"come back with: ups tui {app.followed.name}")


def _find(reference: str | None, root: Path) -> "RunDirectory | None":
    """The run that is meant; without a reference the newest live one, if there is any."""
    from ups_engine.errors import RunError
    from ups_engine.runs.directory import RunDirectory
    from ups_engine.runs.requests import LIVE
    from ups_engine.runs.state import summarise

    if reference is not None:
        return RunDirectory.find(reference, root)
    for run in RunDirectory.list_runs(root):
        try:
            if summarise(run).state in LIVE:
                return run
        except RunError:  # a damaged run is for the list of runs to tell
            continue
    return None
