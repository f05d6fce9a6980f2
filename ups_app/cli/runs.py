"""The group `ups runs`: what runs there are, how far they are, what they said; and, from `control`, telling them."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli import control
from ups_app.cli.options import AsJson, Run, find_run, runs_root
from ups_app.cli.output import error, human_seconds, notice, print_json, print_table

if TYPE_CHECKING:
    from ups_engine.runs.state import RunState

app = typer.Typer(no_args_is_help=True)
_CLOCK = "%Y-%m-%d %H:%M:%S"


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the runs, newest first, with their states."""
    from ups_engine.errors import RunError
    from ups_engine.formats import FormatError
    from ups_engine.runs.directory import RunDirectory
    from ups_engine.runs.state import summarise

    root = runs_root()
    states: list[RunState] = []
    for run in RunDirectory.list_runs(root):
        try:
            states.append(summarise(run))
        except (RunError, FormatError) as problem:  # one damaged run must not hide the others
            error(problem.message, problem.hint)
    if as_json:
        print_json({"root": str(root.absolute()), "runs": [state.to_json() for state in states]})
    elif states:
        print_table(("run", "state", "stage", "epoch", "best", "started"), [_list_row(state) for state in states])
    else:
        notice(f"no runs under {root}; start one with `ups train`")


@app.command()
def show(reference: Run, as_json: AsJson = False) -> None:
    """Show how far a run and each of its stages are, who owns it, and what is wrong with its files."""
    from ups_engine.evaluation.soundness import flaws
    from ups_engine.runs.state import summarise

    run = find_run(reference)
    state = summarise(run)
    found = flaws(run, state.results)
    if as_json:
        print_json(state.to_json() | ({"flaws": found} if found else {}))
        return
    for label, text in [*_facts(state), *(("flaw", sentence) for sentence in found)]:
        print(f"{label:<10} {text}")
    if state.stages:
        print()
        rows = [(s.name, s.state, f"{s.epoch}/{s.epochs}", s.best, human_seconds(s.seconds)) for s in state.stages]
        print_table(("stage", "state", "epochs", "best", "time"), rows)


@app.command()
def log(
    reference: Run,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, metavar="N", help="How many of the last lines.")] = 40,
    events: Annotated[bool, typer.Option("--events", help="Print the events even where there is a log.txt.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the end of a run's log.txt, or of its events.

    The events where it wrote to a terminal and has no log; steps and heartbeats are left out of them.
    """
    from ups_engine.runs.event_file import recent_events

    run = find_run(reference)
    if as_json:
        recent = [vars(event) for event in recent_events(run.events, lines)]
        tail = _tail(run.log, lines) if run.log.is_file() else []
        print_json({"run": run.name, "directory": str(run.path), "log": tail, "events": recent})
    elif run.log.is_file() and not events:
        for line in _tail(run.log, lines):
            print(line)
    else:
        from ups_app.wording import event_line

        for event in recent_events(run.events, lines):
            print(event_line(event, _CLOCK))


control.register(app)


def _list_row(state: "RunState") -> tuple[str, str, str | None, str | None, float | None, str]:
    stage = next((stage for stage in state.stages if stage.name == state.stage), None)
    epoch, best = (None, None) if stage is None else (f"{stage.epoch}/{stage.epochs}", stage.best)
    return (state.run, state.state, state.stage, epoch, best, _clock(state.created))


def _facts(state: "RunState") -> list[tuple[str, str]]:
    facts = [("run", state.run), ("directory", str(state.directory)), ("state", state.state)]
    if state.error is not None:
        facts += [("error", state.error[0])] + ([("", state.error[1])] if state.error[1] else [])
    if state.state in ("lost", "parked", "stopped", "failed"):
        facts.append(("resume", f"ups runs resume {state.run}"))
    elif state.state == "finished":
        facts.append(("more", f"ups runs resume {state.run} --stage STAGE"))
    facts.append(("started", _clock(state.created)))
    if state.silence is not None:
        facts.append(("last event", f"{human_seconds(max(0.0, state.silence))} ago"))
    if state.lease is not None:
        gone = "" if state.lease.alive else ", gone"
        facts.append(("owner", f"pid {state.lease.pid} on {state.lease.host}{gone}"))
    return facts


def _tail(path: Path, lines: int) -> list[str]:
    from ups_engine.errors import RunError

    block = 1 << 20  # a log with longer lines than that is cut
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - block))
            text = file.read().decode("utf-8", "replace")
    except OSError as problem:
        raise RunError(f"cannot read {path}: {problem.strerror}", "check its permissions") from None
    return text.splitlines()[-lines:]


def _clock(when: float) -> str:
    return time.strftime(_CLOCK, time.localtime(when))
