"""How the progress of a run in the foreground is told."""

import os
import sys

from ups_app.cli.lines import Lines, Warnings
from ups_app.cli.live import LiveBar


def choose_observer(*, plain: bool, quiet: bool, interval: float) -> Lines:
    """Choose how: nothing but warnings, a live bar on a terminal that can show one, else lines.

    Args:
        plain: lines even on a terminal.
        quiet: warnings only.
        interval: seconds between lines inside epochs.
    """
    if quiet:
        return Warnings()
    if plain or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return Lines(interval)
    return LiveBar()
