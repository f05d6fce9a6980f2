"""`ups tui`: the terminal interface, or a picture of it."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ups_app.cli.options import resolve_settings
from ups_app.cli.output import notice
from ups_app.terminal import shows_unicode
from ups_app.tui.screens import ScreenName

if TYPE_CHECKING:
    from ups_app.tui.app import UpsApp
    from ups_engine.runs.directory import RunDirectory

_Theme = Literal["dark", "light", "high-contrast"]


def tui(
    reference: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's name or its folder; else the newest live one.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Look only: offer nothing that changes a run.")
    ] = False,
    theme: Annotated[_Theme | None, typer.Option("--theme", help="Colours, over the setting tui.theme.")] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Show nothing but ASCII.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.svg", help="Write a picture and leave; needs no terminal.")
    ] = None,
    screen: Annotated[
        ScreenName | None, typer.Option("--screen", help="The screen to begin with, or to picture.")
    ] = None,
    size: Annotated[str, typer.Option("--size", metavar="COLUMNSxLINES", help="Of the picture.")] = "120x40",
) -> None:
    """Start, watch and control runs in the terminal.

    Leaving it leaves them running.
    """
    from ups_engine.errors import UsageError

    cells = _cells(size)
    resolved = resolve_settings(None, None, None)
    root = Path(resolved.settings.runs.root)
    run = _find(reference, root)
    if picture is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("ups tui needs a terminal", "`ups runs show RUN` tells the same in plain lines")
    if "TMUX" in os.environ:  # has 256 colours itself, although the TERM that it sets, screen, promises only 16
        os.environ.setdefault("TEXTUAL_COLOR_SYSTEM", "256")
    from ups_app.tui.app import UpsApp
    from ups_app.tui.looks import has_few_colours

    chosen = resolved.settings.tui.ascii
    plain = ascii_only or (not shows_unicode() if chosen is None else chosen)
    few_colours = picture is None and has_few_colours()
    app = UpsApp(resolved, run, screen=screen, read_only=read_only, theme=theme, ascii=plain, few_colours=few_colours)
    if picture is None:
        _run(app)
    else:
        from ups_app.tui.picture import take_picture
        from ups_engine.runs.atomic import write_text

        write_text(picture.absolute(), take_picture(app, cells))
        notice(f"wrote {picture}")


def _run(app: "UpsApp") -> None:
    from ups_app.tui.leaving import ending_with_the_terminal

    with ending_with_the_terminal(app.leave):
        app.run()
    if farewell := app.farewell():
        notice(farewell)
    if app.return_code:
        raise typer.Exit(app.return_code)


def _cells(size: str) -> tuple[int, int]:
    """Columns and lines of `120x40`."""
    from ups_engine.errors import UsageError

    found = re.fullmatch(r"(\d{1,3})x(\d{1,3})", size)
    columns, lines = map(int, found.groups()) if found else (0, 0)
    if not (20 <= columns <= 400 and 5 <= lines <= 200):
        raise UsageError(f"--size {size} is no size of a terminal", "columns 20 to 400, lines 5 to 200, as in 120x40")
    return columns, lines


def _find(reference: str | None, root: Path) -> "RunDirectory | None":
    """The run that is meant; without a reference the newest live one, if there is any."""
    from ups_engine.errors import RunError
    from ups_engine.formats import FormatError
    from ups_engine.runs.directory import RunDirectory
    from ups_engine.runs.requests import LIVE
    from ups_engine.runs.state import summarise

    if reference is not None:
        return RunDirectory.find(reference, root)
    for run in RunDirectory.list_runs(root):
        try:
            if summarise(run).state in LIVE:
                return run
        except (RunError, FormatError):  # a damaged run is for the list of runs to tell
            continue
    return None
