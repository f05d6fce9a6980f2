"""What a preflight found."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from ups_app.tui.process import Done

_SIGNS = {"bad": ("✗", "$error"), "warning": ("!", "$warning"), "good": ("✓", "$success")}
_LEAST_WIDTH = 20


@dataclass(frozen=True)
class Verdict:
    """One check: its name, `good`, `warning` or `bad`, and why."""

    name: str
    verdict: str
    sentence: str


def verdict_lines(verdicts: Sequence[Verdict], old: bool, width: int, height: int) -> list[Content]:
    """A sign, a name and a wrapped sentence for every check, what is bad first; dimmed where it is old."""
    margin = max((len(verdict.name) for verdict in verdicts), default=0) + 4
    room = max(_LEAST_WIDTH, width - margin)
    by_sign = sorted(verdicts, key=lambda verdict: list(_SIGNS).index(verdict.verdict))
    return [line for verdict in by_sign for line in _lines_of(verdict, old, margin, room)]


def _lines_of(verdict: Verdict, old: bool, margin: int, room: int) -> list[Content]:
    sign, colour = _SIGNS[verdict.verdict]
    text = "$muted" if old else "$foreground"
    first, *rest = textwrap.wrap(verdict.sentence, room, break_on_hyphens=False) or [""]
    head = Content.from_markup(
        f"[{'$muted' if old else colour}]$sign $name[/][{text}]$line[/]",
        sign=sign,
        name=verdict.name.ljust(margin - 2),
        line=first,
    )
    return [head, *(Content.from_markup(f"[{text}]$line[/]", line=" " * margin + line) for line in rest)]


def verdicts_of(done: Done) -> tuple[Verdict, ...]:
    """What `ups train --dry-run --json` found, or why it could not look."""
    try:
        checks = json.loads(done.out)["checks"]
        return tuple(Verdict(check["name"], check["verdict"], check["sentence"]) for check in checks)
    except (ValueError, KeyError, TypeError):
        return (Verdict("preflight", "bad", "; ".join(done.error)),)
