"""What would become of a run that is put together: the preflight, the command, and the start."""

from collections.abc import Sequence
from functools import partial

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button

from ups_app.tui.widgets.line import Line
from ups_app.tui.widgets.rows import Rows
from ups_app.tui.widgets.verdicts import Verdict, verdict_lines


class StartPanel(Vertical):
    """Every check with its sentence, the equivalent command line, and a button that says why it is disabled."""

    def __init__(self) -> None:
        super().__init__()
        self._verdicts: Sequence[Verdict] = ()

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
