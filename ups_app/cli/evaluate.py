"""`ups evaluate`: score a run's results in physical units, under its own protocol or another one."""

from typing import Annotated, Literal

import typer

from ups_app.cli.options import AsJson, Run, find_run
from ups_app.cli.output import notice, print_json


def evaluate(
    reference: Run,
    split: Annotated[
        Literal["train", "val", "test"] | None, typer.Option("--split", help="Trajectories to report on.")
    ] = None,
    initial_steps: Annotated[
        int | None, typer.Option("--initial-steps", min=1, metavar="N", help="Frames given; PDEBench gives 10.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a run's results in physical units, beside persistence."""
    run = find_run(reference)
    from ups_engine.evaluation.table import render
    from ups_engine.pipeline.reopen import evaluate_run

    report, path = evaluate_run(run, split=split, initial_steps=initial_steps, tell=notice)
    if as_json:
        print_json(report.to_json())
    else:
        print(render(report))
    notice(f"report: {path}")
