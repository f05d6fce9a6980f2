"""`ups train`: start a run or go on with one, in this process or as one of its own."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli.options import Config, Preset, Set, resolve_settings
from ups_app.cli.output import notice, print_json, print_preflight
from ups_app.wording import short_reference

if TYPE_CHECKING:
    from ups_app.cli.progress import Lines
    from ups_engine.config.layers import ResolvedSettings
    from ups_engine.runs.directory import RunDirectory

EXIT_NOT_READY, EXIT_RESUMABLE = 1, 3

Stages = Annotated[list[str] | None, typer.Option("--stage", metavar="STAGE", help="Run only this stage; repeatable.")]
Skipped = Annotated[list[str] | None, typer.Option("--skip", metavar="STAGE", help="Leave this stage out; repeatable.")]


def train(
    headless: Annotated[bool, typer.Option("--headless", help="Plain progress lines, for batch jobs.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Train in a process of its own, which outlives this terminal.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say whether the run would come to its end; exit code 0: yes; 1: no.")
    ] = False,
    data: Annotated[str | None, typer.Option("--data", metavar="PATH", help="File, folder or pattern.")] = None,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
    stages: Stages = None,
    skip: Skipped = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", metavar="DIR", help="Folder of the new run; absent or empty.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run, by name or folder.")
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.0, help="Between lines of progress inside epochs.")
    ] = 10.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only warnings and the final result.")] = False,
    json_events: Annotated[
        bool, typer.Option("--json-events", help="Every event as a line of JSON on stdout, as in events.jsonl.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; with --detach or --dry-run.")] = False,
) -> None:
    """Train a surrogate in stages, and evaluate it.

    SIGTERM or Ctrl-C saves and leaves. Exit code 0: finished; 1: failed; 2: usage or settings; 3: stopped or parked,
    and resumable; 130: interrupted twice. With --detach, 0: it trains.
    """
    from ups_app.cli.progress import choose_observer
    from ups_engine.runs.directory import RunDirectory

    given = [*(overrides or ()), *([] if data is None else [f"data.path={data}"])]
    keeps_settings = resume is None or not (given or preset or config or run_dir)
    _refuse_contradictions(headless, detach, dry_run, json_events, as_json, keeps_settings)
    resolved = resolve_settings(preset, config, given)
    only, without, root = stages or (), skip or (), Path(resolved.settings.runs.root)
    run = None if resume is None else RunDirectory.find(resume, root)
    if dry_run:
        from ups_engine.preflight import preflight

        outcome = preflight(resolved.settings, run, only=only, skip=without, folder=run_dir)
        print_preflight(outcome, as_json)
        raise typer.Exit(0 if outcome.ready else EXIT_NOT_READY)
    if run is None:
        run = _new_run(resolved, only, without, run_dir)
    if detach:
        _detach(run, root, only, without, [f"--interval={interval:g}", *(["--quiet"] if quiet else [])], as_json)
        return
    if not quiet:
        notice(f"run {run.name} in {run.path}")
    observer = choose_observer(plain=headless or json_events, quiet=quiet, interval=interval)
    _train_here(run, short_reference(run, root), only, without, observer, json_events)


def start_detached(
    run: "RunDirectory", *, only: Sequence[str] = (), skip: Sequence[str] = (), options: Sequence[str] = ()
) -> int | None:
    """Begin or go on with a run in a process that outlives this one, and wait until it owns the run.

    Args:
        run: without a live owner.
        only: stages to run; see `ups train --stage`.
        skip: stages to leave out.
        options: further ones for `ups train`.

    Returns:
        The pid; None when nothing was left to do.

    Raises:
        RunError: a live process owns the run.
        SettingsError: the run's settings are damaged.
        UsageError, RunError: the process failed at once, with its own words.
        KeyboardInterrupt: interrupted while waiting, which the new process does not feel.
    """
    from ups_engine.config.archive import settings_from_toml
    from ups_engine.runs.launching import launch_and_wait
    from ups_engine.runs.lease import refuse_owned

    refuse_owned(run)
    # Read here too: the process reads them when it owns the run, which is what is waited for.
    settings_from_toml(run.settings_toml, str(run.path / "settings.toml"))
    # -P: a file in the working folder must not pass for a module.
    command = [sys.executable, "-P", "-m", "ups_app", "train", "--headless", "--resume", str(run.path), *options]
    for option, stages in (("--stage", only), ("--skip", skip)):
        for stage in stages:
            command += [option, stage]
    try:
        return launch_and_wait(run, command)
    except KeyboardInterrupt:
        notice(f"the run has been launched and goes on; end it with: ups runs stop {run.path}")
        raise


def _refuse_contradictions(
    headless: bool, detach: bool, dry_run: bool, json_events: bool, as_json: bool, keeps_settings: bool
) -> None:
    from ups_engine.errors import UsageError

    if headless and detach:
        raise UsageError("a run is detached or in the foreground, not both", "leave out --headless or --detach")
    if json_events and (detach or dry_run):
        raise UsageError(
            "--json-events needs a run in the foreground", "the events of a detached run are in its events.jsonl"
        )
    if as_json and not (detach or dry_run):
        raise UsageError(
            "--json goes with --detach or --dry-run", "--json-events gives the events of a run in the foreground"
        )
    if not keeps_settings:
        raise UsageError(
            "a resumed run keeps the settings it was started with",
            "leave out --preset, --config, --set, --data and --run-dir, or start a new run without --resume",
        )


def _new_run(
    resolved: "ResolvedSettings", only: Sequence[str], without: Sequence[str], folder: Path | None
) -> "RunDirectory":
    from ups_engine.pipeline.plan import check_needs, make_plan
    from ups_engine.pipeline.run import start_run

    check_needs(make_plan(resolved.settings, only=only, skip=without), run=None)
    return start_run(resolved.settings, origins=resolved.origins, argv=sys.argv, folder=folder)


def _detach(
    run: "RunDirectory", root: Path, only: Sequence[str], without: Sequence[str], options: list[str], as_json: bool
) -> None:
    pid = start_detached(run, only=only, skip=without, options=options)
    if as_json:
        print_json({"run": run.name, "directory": str(run.path), "pid": pid})
        return
    name = short_reference(run, root)
    notice(f"run {run.name} in {run.path}")
    if pid is None:
        notice(f"it has ended already: ups runs show {name}")
    else:
        notice(f"it trains on its own as process {pid}")
        notice(f"watch it: ups tui {name}; end it: ups runs stop {name}")


def _train_here(
    run: "RunDirectory",
    reference: str,
    only: Sequence[str],
    without: Sequence[str],
    observer: "Lines",
    json_events: bool,
) -> None:
    from contextlib import nullcontext

    from ups_app.cli.following import EventLines
    from ups_engine.pipeline.run import Outcome, run_pipeline

    going_on = f"go on with: ups train --resume {reference}"
    try:
        with EventLines(run.events) if json_events else nullcontext(), observer:
            outcome = run_pipeline(run, only=only, skip=without, observers=[observer])
    except KeyboardInterrupt:
        notice(f"left at once, without saving; from the last saved state {going_on}")
        raise
    if outcome is not Outcome.FINISHED:
        notice(f"{outcome.value} and saved; {going_on}")
        raise typer.Exit(EXIT_RESUMABLE)
    if not _show_evaluation(run, on_stdout=not json_events):
        notice(f"results: {run.checkpoints}")


def _show_evaluation(run: "RunDirectory", *, on_stdout: bool) -> bool:
    from ups_engine.evaluation.report import EvaluationReport
    from ups_engine.evaluation.soundness import EVALUATION_FILE, report_flaw
    from ups_engine.evaluation.table import render

    path = run.reports / EVALUATION_FILE
    if path.exists():
        if flaw := report_flaw(run, path):
            notice(f"warning: {flaw}; `ups evaluate {run.name}` makes it anew")
        # Flushed, for a log that holds both streams in the order in which they were written.
        print(render(EvaluationReport.read(path)), file=sys.stdout if on_stdout else sys.stderr, flush=True)
        notice(f"report: {path}")
    return path.exists()
