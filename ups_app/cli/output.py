"""What commands print: data on stdout, everything else on stderr."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from ups_app.terminal import wants_colour
from ups_engine.runs import strict_json

if TYPE_CHECKING:
    from ups_engine.preflight import Preflight

Cell: TypeAlias = str | int | float | None
_COLOURS = {"good": 32, "warning": 33, "bad": 31}


def print_json(value: object) -> None:
    """Print strict JSON on stdout; numbers that JSON has no word for (nan, inf) become null."""
    print(strict_json.dumps(value, indent=2))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print an aligned table on stdout, columns of numbers to the right, an absent value as a dash."""
    for line in table_lines(headers, rows, bold=wants_colour(sys.stdout)):
        print(line)


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[Cell]], *, bold: bool = False) -> list[str]:
    """Lay a table out.

    Args:
        headers: one per column.
        rows: cells; floats are shown to four significant figures, None as `-`, control characters escaped.
        bold: print the headers in bold.

    Returns:
        The lines, without trailing blanks.
    """
    texts = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headers, *texts, strict=True)]
    right = [_is_numeric(column) for column in zip(*rows, strict=True)] or [False] * len(headers)

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    head = line(headers)
    return [f"\033[1m{head}\033[0m" if bold else head, *map(line, texts)]


def print_preflight(
    preflight: "Preflight", as_json: bool, *, good: str = "ready to start", bad: str = "not ready: mend what is bad"
) -> None:
    """Print every check with its verdict and sentence on stdout, then what they come to.

    Args:
        preflight: what was found.
        as_json: as `{ready, checks: [{name, verdict, sentence}]}`.
        good: the last line where nothing is bad.
        bad: where something is.
    """
    if as_json:
        print_json(preflight.to_json())
        return
    coloured = wants_colour(sys.stdout)
    width = shutil.get_terminal_size((100, 24)).columns
    names = max(len(check.name) for check in preflight.checks)
    margin = len("warning") + 2 + names + 2
    for check in preflight.checks:
        verdict = check.verdict.ljust(len("warning"))
        if coloured:
            verdict = f"\033[{_COLOURS[check.verdict]}m{verdict}\033[0m"
        lines = textwrap.wrap(check.sentence, max(width - margin, 20), break_on_hyphens=False, break_long_words=False)
        print(f"{verdict}  {check.name.ljust(names)}  {lines[0] if lines else ''}")
        for line in lines[1:]:
            print(" " * margin + line)
    print(f"\n{good if preflight.ready else bad}")


def notice(message: str) -> None:
    """Tell the user something on stderr, so that stdout stays data."""
    print(message, file=sys.stderr, flush=True)


def error(message: str, hint: str | None = None) -> None:
    """Say on stderr what is wrong and, indented under it, what to do next."""
    colour = wants_colour(sys.stderr)
    label = "\033[31merror:\033[0m" if colour else "error:"
    print(f"{label} {message}", file=sys.stderr)
    if hint is not None:
        print(f"  {hint}", file=sys.stderr, flush=True)


def human_seconds(seconds: float) -> str:
    """A duration in its two largest units: `4.2 s`, `3 min 05 s`, `2 h 03 min`, `1 d 04 h`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    if total < 86400:
        return f"{total // 3600} h {total % 3600 // 60:02d} min"
    return f"{total // 86400} d {total % 86400 // 3600:02d} h"


def _is_numeric(column: Sequence[Cell]) -> bool:
    kinds = {type(cell) for cell in column} - {type(None)}
    return bool(kinds) and kinds <= {int, float}


def _cell(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(cell))
