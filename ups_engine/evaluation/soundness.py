"""Whether what a run keeps is as it was written and goes together, as far as can be told without reading tensors."""

from collections.abc import Collection
from pathlib import Path

from ups_engine.errors import RunError
from ups_engine.evaluation.report import EvaluationReport
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.sidecars import flaw, remade

EVALUATION_FILE = "evaluation.json"
"""The report under a run's own protocol."""


def report_flaw(run: RunDirectory, path: Path) -> str | None:
    """Why a report of a run does not count, or not any more; None where it does.

    Raises:
        RunError: run.json is missing or damaged.
    """
    name = path.relative_to(run.path)
    if change := run.changed(path):
        return change
    if not path.is_file():
        return f"{name} is missing"
    try:
        other = remade(run, EvaluationReport.read(path).results)
    except RunError as problem:
        return problem.message
    return f"{name} is about another {', '.join(other)} than the run has now" if other else None


def report_flaws(run: RunDirectory) -> list[str]:
    """What is wrong with the files under `reports/`, of which run.json knows, a sentence each; raises as above."""
    found = []
    for path in sorted(run.path / name for name in run.record.hashes if name.startswith(f"{run.reports.name}/")):
        sentence = report_flaw(run, path) if path.suffix == ".json" else run.changed(path)
        found += [] if sentence is None else [sentence]
    return found


def flaws(run: RunDirectory, kept: Collection[str]) -> list[str]:
    """What is wrong with a run's settings, data record, results and reports, a sentence each.

    Args:
        run: the run.
        kept: names of the results that its history tells of.

    Raises:
        RunError: run.json is missing or damaged.
        FormatError: a newer UPS wrote a file.
    """
    changes = [change for change in run.changes() if not change.startswith(f"{run.reports.name}/")]
    results = [sentence for name in sorted(kept) if (sentence := flaw(run, name)) is not None]
    return [*changes, *results, *report_flaws(run)]
