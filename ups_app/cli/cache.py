"""The group `ups cache`: what state the latent caches are in, and encoding what they lack; `mending` has the rest."""

import shutil
import textwrap
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli import mending
from ups_app.cli.caches import Interval, Run, cache_context_of
from ups_app.cli.counter import Counter
from ups_app.cli.options import AsJson, Config, Preset, Set
from ups_app.cli.output import Cell, human_seconds, notice, print_json, print_table
from ups_engine.telemetry.units import human_bytes

if TYPE_CHECKING:
    from ups_engine.latents.checking.report import CacheReport
    from ups_engine.latents.target import CacheContext

app = typer.Typer(no_args_is_help=True)

NOT_READY = 1


@app.command()
def check(
    run: Run = None,
    deep: Annotated[bool, typer.Option("--deep", help="Verify every checksum, and encode a sample again.")] = False,
    interval: Interval = None,
    as_json: AsJson = False,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
) -> None:
    """Say whether the caches are complete, why not, and where training would keep them.

    Exit code 0: ready; 1: not ready; 2: usage or settings.
    """
    context = cache_context_of(run, preset, config, overrides)
    from ups_engine.latents.checking.report import check_targets

    progress = Counter("verified", interval) if deep else None
    report = check_targets(context, deep=deep, progress=progress)
    if progress is not None:
        progress.end()
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if not report.ready:
        raise typer.Exit(NOT_READY)


@app.command()
def build(
    run: Run = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="Only this split; repeatable.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Encode at most N trajectories of each split.")
    ] = None,
    interval: Interval = None,
    as_json: AsJson = False,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
) -> None:
    """Encode what the caches lack. Stopped or killed it goes on where it was; several may run at once."""
    context = cache_context_of(run, preset, config, overrides)
    from ups_engine.latents.building.completion import build_target

    built = []
    for target in [t for t in context.targets if _wanted(t.split, split, context)]:
        progress = Counter(f"{target.split}: encoded", interval)
        begin = time.monotonic()
        result = build_target(target, limit=limit, progress=progress)
        progress.end()
        bound = f", {result.times.sentence()}" if result.built else ""
        notice(
            f"{target.split}: {result.complete} of {result.samples} trajectories complete,"
            f" {result.built} encoded in {human_seconds(time.monotonic() - begin)}{bound}, {target.path}"
        )
        built.append(
            {
                "name": target.split,
                "samples": result.samples,
                "complete": result.complete,
                "built": result.built,
                "time_shares": result.times.shares,
                "path": str(target.path),
            }
        )
    if as_json:
        print_json({"splits": built})


mending.register(app)


def _wanted(name: str, chosen: list[str] | None, context: "CacheContext") -> bool:
    from ups_engine.errors import UsageError

    known = [target.split for target in context.targets]
    if unknown := [split for split in chosen or () if split not in known]:
        raise UsageError(f"there is no split {unknown[0]!r}", f"the splits are {', '.join(known)}")
    return not chosen or name in chosen


def _print_report(report: "CacheReport") -> None:
    from ups_engine.latents.checking.examine import RowState

    order = (RowState.COMPLETE, RowState.MISSING, RowState.STALE, RowState.CORRUPT)
    headers = ("split", "samples", *(state.name.lower() for state in order), "on disk", "in RAM")
    rows: list[tuple[Cell, ...]] = []
    for split in report.splits:
        found, in_ram = split.found, split.target.layout.memory_bytes
        counts: list[Cell] = [len(found.states), *map(found.count, order)]
        rows.append((split.target.split, *counts, human_bytes(found.bytes_on_disk), human_bytes(in_ram)))
    print_table(headers, rows)
    print()
    print(f"RAM: {human_bytes(report.memory.available_bytes)} free under {report.memory.limit_source}")
    for gpu in report.gpus:
        print(f"GPU {gpu.index}: {human_bytes(gpu.free_bytes)} of {human_bytes(gpu.total_bytes)} free, {gpu.name}")
    print()
    print(textwrap.fill(report.verdict(), width=shutil.get_terminal_size((100, 24)).columns, break_on_hyphens=False))
