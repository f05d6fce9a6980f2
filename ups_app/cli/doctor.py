"""`ups doctor`: what is known of this machine, as far as training depends on it."""

import os
import sys
from typing import TYPE_CHECKING

import typer

from ups_app.cli.options import AsJson, Config, Preset, Set, resolve_settings
from ups_app.cli.output import print_preflight
from ups_app.terminal import shows_unicode

if TYPE_CHECKING:
    from ups_engine.preflight import Finding

NOT_READY = 1
_WIDTH, _HEIGHT = 80, 24
"""The smallest terminal that the interface is made for."""


def doctor(as_json: AsJson = False, preset: Preset = None, config: Config = None, overrides: Set = None) -> None:
    """Say what on this machine helps or hinders training.

    Software, GPUs, memory and its limits, disks, file locks, terminal, logout; each with what to do about it.

    Exit code 0: nothing would stop training; 1: something would.
    """
    from ups_engine.errors import SettingsError
    from ups_engine.preflight import Check, Preflight, attempt, examine_machine, said

    checks: list[Check] = []
    settings = None
    try:
        settings = resolve_settings(preset, config, overrides).settings
    except SettingsError as problem:
        checks.append(Check("settings", "bad", said(problem)))
    outcome = Preflight((*checks, *examine_machine(settings), attempt("terminal", check_terminal)))
    good, bad = "nothing here would stop training", "something here would stop training: mend what is bad"
    print_preflight(outcome, as_json, good=good, bad=bad)
    if not outcome.ready:
        raise typer.Exit(NOT_READY)


def check_terminal() -> "Finding":
    """What the terminal can show."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        return "good", "the output goes to no terminal; `ups train --headless` needs none"
    term = os.environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        return "warning", f"TERM = {term!r} cannot show `ups tui`: set it to what your terminal is, such as xterm"
    columns, lines = os.get_terminal_size((sys.stdout if sys.stdout.isatty() else sys.stderr).fileno())
    true_colour = os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
    colours = "true colour" if true_colour else "256 colours" if "256" in term else "few colours"
    if os.environ.get("NO_COLOR"):
        colours = "no colour, as NO_COLOR asks"
    sentence = f"{term}, {columns}x{lines}, {colours}"
    if columns < _WIDTH or lines < _HEIGHT:
        return "warning", f"{sentence}: `ups tui` wants {_WIDTH}x{_HEIGHT} at least"
    if not shows_unicode():
        return "warning", f"{sentence}, no UTF-8: `ups tui` draws in ASCII until LANG names a UTF-8 locale"
    return "good", f"{sentence}, UTF-8"
