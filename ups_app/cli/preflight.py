"""What `ups train --dry-run` prints."""

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from ups_app.cli.output import print_json
from ups_app.terminal import wants_colour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ups_engine.preflight import Check, Preflight, Verdict

NOT_READY = 1
"""Exit code of a preflight that found something bad."""

_COLOURS: dict["Verdict", int] = {"good": 32, "warning": 33, "bad": 31}


def print_preflight(preflight: "Preflight", as_json: bool) -> None:
    """Print every check with its verdict and sentence on stdout, then whether the run can start.

    Args:
        preflight: what was found.
        as_json: as `{ready, checks: [{name, verdict, sentence}]}`.
    """
    if as_json:
        print_json(preflight.to_json())
        return
    print_checks(preflight.checks)
    print()
    print("ready to start" if preflight.ready else "not ready: mend what is bad")


def print_checks(checks: "Sequence[Check]") -> None:
    """Print checks on stdout, each with its verdict, its name and its sentence."""
    coloured = wants_colour(sys.stdout)
    width = shutil.get_terminal_size((100, 24)).columns
    names = max(len(check.name) for check in checks)
    margin = len("warning") + 2 + names + 2
    for check in checks:
        verdict = check.verdict.ljust(len("warning"))
        if coloured:
            verdict = f"\033[{_COLOURS[check.verdict]}m{verdict}\033[0m"
        lines = textwrap.wrap(check.sentence, max(width - margin, 20), break_on_hyphens=False, break_long_words=False)
        print(f"{verdict}  {check.name.ljust(names)}  {lines[0] if lines else ''}")
        for line in lines[1:]:
            print(" " * margin + line)
