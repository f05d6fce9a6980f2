"""What would become of a run that is put together: the preflight, the command, and the start."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button

from ups_app.tui.process import Done
from ups_app.tui.widgets.line import Line, Rows

_SIGNS = {"bad": ("✗", "$error"), "warning": ("!", "$warning"), "good": ("✓", "$success")}
_LEAST_WIDTH = 20


@dataclass(frozen=True)
class Verdict:
    """One check: its name, `good`, `warning` or `bad`, and why."""

    name: str
    verdict: str
    sentence: str


class StartPanel(Vertical):
    """Every check with its sentence, the equivalent command line, and a button that says why it is disabled."""

    _verdicts: Sequence[Verdict] = ()

    def compose(self) -> ComposeResult:
        """From the checks down to the start."""
        with VerticalScroll(id="preflight"):
            yield Rows(id="verdicts")
        yield Line(id="command")
        with Horizontal(id="starting"):
            yield Button("start run", id="start", compact=True, disabled=True, action="screen.launch")
            yield Line(id="status")

    def tell(self, command: str, problem: str | None, verdicts: Sequence[Verdict] | None, *, eager: bool) -> None:
        """Show how things stand.

        Args:
            command: that starts the run.
            problem: why the run cannot be started.
            verdicts: of the preflight; None while it is under way.
            eager: the run starts as soon as the preflight is done.
        """
        line = Content.from_markup("[$muted]$sign[/] $command", sign="$", command=command)
        self.query_one("#command", Line).put(line)
        if verdicts is not None:
            self._verdicts = verdicts
        self.query_one("#verdicts", Rows).show(partial(verdict_lines, self._verdicts, verdicts is None))
        self.query_one("#status", Line).put(_status(problem, verdicts, eager), layout=False)
        self.query_one("#start", Button).disabled = problem is not None


def _status(problem: str | None, verdicts: Sequence[Verdict] | None, eager: bool) -> Content:
    if problem is not None:
        return Content.from_markup("[$error]$why[/]", why=problem.splitlines()[0])
    if verdicts is None:
        text = "starts once the checks are done" if eager else "checking data, disk, memory and GPU ..."
        return Content.from_markup("[$muted]$text[/]", text=text)
    bad = sum(verdict.verdict == "bad" for verdict in verdicts)
    warnings = sum(verdict.verdict == "warning" for verdict in verdicts)
    if bad:
        return Content.from_markup("[$error]not ready: $bad of $all checks are bad[/]", bad=bad, all=len(verdicts))
    if warnings:
        return Content(f"ready, with {warnings} warning{'' if warnings == 1 else 's'}")
    return Content("ready")


def verdict_lines(verdicts: Sequence[Verdict], old: bool, width: int, height: int) -> list[Content]:
    """A sign, a name and a wrapped sentence for every check, what is bad first; dimmed where it is old."""
    margin = max((len(verdict.name) for verdict in verdicts), default=0) + 4
    room = max(_LEAST_WIDTH, width - margin)
    style = "$muted" if old else "$foreground"
    lines = []
    for verdict in sorted(verdicts, key=lambda verdict: list(_SIGNS).index(verdict.verdict)):
        sign, colour = _SIGNS[verdict.verdict]
        name = f"{sign} {verdict.name.ljust(margin - 2)}", "$muted" if old else colour
        first, *rest = textwrap.wrap(verdict.sentence, room, break_on_hyphens=False) or [""]
        lines.append(Content.assemble(name, (first, style)))
        lines += [Content.styled(" " * margin + line, style) for line in rest]
    return lines


def verdicts_of(done: Done) -> tuple[Verdict, ...]:
    """What `ups train --dry-run --json` found, or why it could not look."""
    try:
        checks = json.loads(done.out)["checks"]
        return tuple(Verdict(check["name"], check["verdict"], check["sentence"]) for check in checks)
    except (ValueError, KeyError, TypeError):
        return (Verdict("preflight", "bad", "; ".join(done.error)),)
