"""`ups train`: start a run or go on with one, in this process."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ups_app.cli.options import Config, Preset, Set, resolve_settings
from ups_app.cli.output import notice

EXIT_RESUMABLE = 3

Stages = Annotated[list[str] | None, typer.Option("--stage", metavar="STAGE", help="Run only this stage; repeatable.")]
Skipped = Annotated[list[str] | None, typer.Option("--skip", metavar="STAGE", help="Leave this stage out; repeatable.")]


def train(
    headless: Annotated[bool, typer.Option("--headless", help="Plain progress lines, for batch jobs.")] = False,
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
) -> None:
    """Train a surrogate in stages, and evaluate it.

    SIGTERM or Ctrl-C saves and leaves. Exit code 0: finished; 1: failed; 2: usage or settings; 3: stopped and
    resumable; 130: interrupted twice.
    """
    from ups_app.cli.progress import Lines, LiveLine
    from ups_engine.errors import UsageError

    given = [*(overrides or ()), *([] if data is None else [f"data.path={data}"])]
    if resume is not None and (given or preset or config or run_dir):
        raise UsageError(
            "a resumed run keeps the settings it was started with",
            "leave out --preset, --config, --set, --data and --run-dir, or start a new run without --resume",
        )
    resolved = resolve_settings(preset, config, given)

    from ups_engine.pipeline import Outcome, run_pipeline, start_run
    from ups_engine.plan import check_needs, make_plan
    from ups_engine.runs.directory import RunDirectory

    only, without, root = stages or (), skip or (), Path(resolved.settings.runs.root)
    if resume is not None:
        run = RunDirectory.find(resume, root)
    else:
        check_needs(make_plan(resolved.settings, only=only, skip=without), run=None)
        run = start_run(resolved.settings, origins=resolved.origins, argv=sys.argv, folder=run_dir)
    notice(f"run {run.name} in {run.path}")
    going_on = f"go on with: ups train --resume {run.name if run.path == (root / run.name).absolute() else run.path}"
    try:
        with Lines() if headless or not sys.stderr.isatty() else LiveLine() as observer:
            outcome = run_pipeline(run, only=only, skip=without, observer=observer)
    except KeyboardInterrupt:
        notice(f"left at once, without saving; from the last saved state {going_on}")
        raise
    if outcome is Outcome.STOPPED:
        notice(f"stopped and saved; {going_on}")
        raise typer.Exit(EXIT_RESUMABLE)
    if not _show_evaluation(run.reports):
        notice(f"results: {run.checkpoints}")


def _show_evaluation(reports: Path) -> bool:
    from ups_engine.evaluation.report import EvaluationReport, render
    from ups_engine.plan import EVALUATION_FILE

    path = reports / EVALUATION_FILE
    if path.exists():
        print(render(EvaluationReport.read(path)))
        notice(f"report: {path}")
    return path.exists()
