"""What a preflight found."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from ups_app.tui.process import Done
from ups_app.tui.widgets.rows import Pages

_SIGNS = {"bad": ("✗", "$error"), "warning": ("!", "$warning"), "good": ("✓", "$success")}
_LEAST_WIDTH = 20


@dataclass(frozen=True)
class Verdict:
    """One check: its name, `good`, `warning` or `bad`, and why."""

    name: str
    verdict: str
    sentence: str


class Verdicts(Pages):
    """A sign, a name and a wrapped sentence for every check, what is bad first."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._verdicts: Sequence[Verdict] = ()
        self._old = False

    def tell(self, verdicts: Sequence[Verdict]) -> None:
        """Show what was found."""
        self._verdicts, self._old = sorted(verdicts, key=lambda v: list(_SIGNS).index(v.verdict)), False
        self.draw()

    def dim(self) -> None:
        """Show that something has changed since."""
        self._old = True
        self.draw()

    def _page(self, width: int) -> list[Content]:
        margin = max((len(verdict.name) for verdict in self._verdicts), default=0) + 4
        room = max(_LEAST_WIDTH, width - margin)
        return [line for verdict in self._verdicts for line in self._lines_of(verdict, margin, room)]

    def _lines_of(self, verdict: Verdict, margin: int, room: int) -> list[Content]:
        sign, colour = _SIGNS[verdict.verdict]
        text = "$muted" if self._old else "$foreground"
        wrapped = textwrap.wrap(verdict.sentence, room, break_on_hyphens=False) or [""]
        first = Content.from_markup(
            f"[{'$muted' if self._old else colour}]$sign $name[/][{text}]$line[/]",
            sign=sign,
            name=verdict.name.ljust(margin - 2),
            line=wrapped[0],
        )
        rest = (Content.from_markup(f"[{text}]$line[/]", line=" " * margin + line) for line in wrapped[1:])
        return [first, *rest]


def verdicts_of(done: Done) -> tuple[Verdict, ...]:
    """What `ups train --dry-run --json` found, or why it could not look."""
    try:
        checks = json.loads(done.out)["checks"]
        return tuple(Verdict(check["name"], check["verdict"], check["sentence"]) for check in checks)
    except (ValueError, KeyError, TypeError):
        message, hint = done.error
        return (Verdict("preflight", "bad", "; ".join(filter(None, (message, hint)))),)
