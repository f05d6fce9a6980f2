"""Commands of the group `ups runs` that change something: live control, going on with a run, removing one."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli.options import AsJson, Run, find_run, runs_root, sure
from ups_app.cli.output import error, notice, print_json
from ups_app.wording import short_reference, words

if TYPE_CHECKING:
    from ups_engine.runs.commands import CommandKind
    from ups_engine.runs.directory import RunDirectory
    from ups_engine.runs.requests import Answer

REFUSED = 1
_LOOKS_APART = 0.05

Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until the run has answered; for park and stop, until it has left.")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", min=0.0, help="Wait, but no longer than this.")
]
Stage = Annotated[str | None, typer.Option("--stage", metavar="STAGE", help="The stage meant; else the running one.")]
NamedStage = Annotated[str, typer.Option("--stage", metavar="STAGE", help="The stage to run.", show_default=False)]
ResumedStage = Annotated[
    str | None, typer.Option("--stage", metavar="STAGE", help="Run only this stage of a run that is down.")
]


def pause(reference: Run, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Hold a run at its next step; its memory is kept."""
    _command(reference, "pause", None, wait, timeout, as_json)


def resume(
    reference: Run, stage: ResumedStage = None, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Go on with a run that is paused, or that is down.

    One that is parked, stopped, lost or failed goes on in a process of its own, detached from this terminal. Exit
    code 0: it goes on, or was told to; 1: refused.
    """
    from ups_engine.errors import UsageError
    from ups_engine.runs.requests import LIVE, Answer
    from ups_engine.runs.state import summarise

    run = find_run(reference)
    state = summarise(run).state
    if state in LIVE and stage is not None:
        raise UsageError(
            f"run {run.name} is {state}", f"start a stage of it with: ups runs start {reference} --stage {stage}"
        )
    if state in LIVE:
        _command(reference, "resume", None, wait, timeout, as_json)
    elif state == "finished" and stage is None:
        reason = "the run is finished, so there is nothing to go on with"
        refused = Answer("resume", None, None, "refused", reason)
        _refuse(run, refused, f"run one stage of it: ups runs resume {reference} --stage STAGE", as_json)
    else:
        _launch(run, stage, as_json)


def skip(
    reference: Run, stage: Stage = None, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Leave out a stage that waits, or the running one."""
    _command(reference, "skip_stage", stage, wait, timeout, as_json)


def finish(
    reference: Run, stage: Stage = None, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """End the running stage now and keep its best weights."""
    _command(reference, "finish_stage", stage, wait, timeout, as_json)


def start(
    reference: Run, stage: NamedStage, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Do a stage next, even one that was left out."""
    _command(reference, "start_stage", stage, wait, timeout, as_json)


def park(reference: Run, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Save, free the GPU and leave, to be resumed later."""
    _command(reference, "park", None, wait, timeout, as_json)


def stop(reference: Run, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Save and leave; it can still be resumed."""
    _command(reference, "stop", None, wait, timeout, as_json)


def remove(
    reference: Run,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a run with its results. Data, caches and files that UPS did not make stay."""
    from ups_engine.runs import removal
    from ups_engine.runs.lease import refuse_owned
    from ups_engine.telemetry.units import human_bytes

    run = find_run(reference)
    refuse_owned(run)
    held = removal.contents(run)
    if not yes and not sure(f"remove run {run.name} in {run.path}, {human_bytes(held.bytes)}?"):
        notice("nothing was removed")
        raise typer.Exit(REFUSED)
    held = removal.remove(run)
    if as_json:
        print_json({"run": run.name, "directory": str(run.path), "bytes": held.bytes, "left": list(held.foreign)})
        return
    notice(f"removed run {run.name}, {human_bytes(held.bytes)}")
    if held.foreign:
        notice(f"left in {run.path}, as UPS did not make them: {', '.join(held.foreign)}")


def register(app: typer.Typer) -> None:
    """Add the commands to their group."""
    for command in (pause, resume, skip, finish, start, park, stop, remove):
        app.command()(command)


def _command(
    reference: str, kind: "CommandKind", stage: str | None, wait: bool, timeout: float | None, as_json: bool
) -> None:
    from ups_engine.runs.requests import await_answer, request

    _check_stage(stage)
    run = find_run(reference)
    begun = time.monotonic()
    answer = request(run, kind, stage=stage)
    if answer.outcome == "refused":
        _refuse(run, answer, f"`ups runs show {reference}` says how to go on", as_json)
    # One with a reason is kept for a run that is down: nobody answers it now.
    if answer.reason is None and (wait or timeout is not None):
        answer = await_answer(run, answer, timeout)
        if answer.outcome == "done" and kind in ("park", "stop"):
            _await_end(run, kind, None if timeout is None else begun + timeout)
    if answer.outcome == "refused":
        asked = replace(answer, stage=stage, reason=answer.reason or "")
        _refuse(run, asked, f"`ups runs show {reference}` says how far it is", as_json)
    _print_answer(run, answer, as_json)


def _check_stage(stage: str | None) -> None:
    from ups_engine.config.schema import STAGES
    from ups_engine.errors import UsageError

    if stage is not None and stage not in STAGES:
        raise UsageError(f"there is no stage {stage!r}", f"the stages are {', '.join(STAGES)}")


def _await_end(run: "RunDirectory", kind: "CommandKind", deadline: float | None) -> None:
    """Wait until a run that obeys has let go."""
    from ups_engine.errors import RunError
    from ups_engine.runs.lease import owner_of

    while (owner := owner_of(run)) is not None and owner.alive:
        if deadline is not None and time.monotonic() > deadline:
            raise RunError(
                f"run {run.name} was told to {kind} and has not left yet",
                f"`ups runs show {run.name}` says how far it is",
            )
        time.sleep(_LOOKS_APART)


def _launch(run: "RunDirectory", stage: str | None, as_json: bool) -> None:
    from ups_app.cli.train import start_detached
    from ups_engine.runs.requests import Answer

    _check_stage(stage)
    pid = start_detached(run, only=() if stage is None else (stage,))
    if as_json:
        print_json(_record(run, Answer("resume", stage, None, "done")) | {"outcome": "started", "pid": pid})
    else:
        name = short_reference(run, runs_root())
        notice(
            f"run {run.name} has nothing left to do"
            if pid is None
            else f"run {run.name} goes on as process {pid}; watch it with `ups tui {name}`"
        )


def _print_answer(run: "RunDirectory", answer: "Answer", as_json: bool) -> None:
    if as_json:
        print_json(_record(run, answer))
        return
    what = f"{run.name}: {words(answer.command, answer.stage)}"
    if answer.outcome == "done":
        notice(f"{what}: done")
    else:
        notice(f"{what}: sent" + (f"; {answer.reason}" if answer.reason else ", to be obeyed at its next step"))


def _refuse(run: "RunDirectory", answer: "Answer", hint: str, as_json: bool) -> None:
    if as_json:
        print_json(_record(run, answer))
    else:
        error(f"{run.name}: {words(answer.command, answer.stage)}: refused, {answer.reason}", hint)
    raise typer.Exit(REFUSED)


def _record(run: "RunDirectory", answer: "Answer") -> dict[str, object]:
    record = {name: getattr(answer, name) for name in ("command", "stage", "id", "outcome", "reason")}
    return {"run": run.name, **record}
