"""The group `ups cache`: what state the latent caches are in, and encoding, mending and removing them."""

import shutil
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli.counter import Counter
from ups_app.cli.options import AsJson, Config, Preset, Set, resolve_settings, sure
from ups_app.cli.output import Cell, human_seconds, notice, print_json, print_table, table_lines
from ups_engine.errors import UsageError
from ups_engine.telemetry.units import human_bytes

if TYPE_CHECKING:
    from ups_engine.latents.checking.report import CacheReport
    from ups_engine.latents.clear import FoundStore
    from ups_engine.latents.target import CacheContext

app = typer.Typer(no_args_is_help=True)

_NOT_READY = 1
_REFUSED = 1

Run = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run's name or its folder: its settings and encoder count. Without it, the current settings"
        " and the newest encoder that fits them.",
        show_default=False,
    ),
]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        min=0.0,
        metavar="SECONDS",
        help="Plain lines of progress, this far apart. Without it every 5 s, and on a terminal one line that moves.",
        show_default=False,
    ),
]


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
    context = _context_of(run, preset, config, overrides)
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
        raise typer.Exit(_NOT_READY)


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
    context = _context_of(run, preset, config, overrides)
    from ups_engine.latents.building.completion import build_target

    known = [target.split for target in context.targets]
    if unknown := [name for name in split or () if name not in known]:
        raise UsageError(f"there is no split {unknown[0]!r}", f"the splits are {', '.join(known)}")
    built = []
    for target in [target for target in context.targets if not split or target.split in split]:
        progress = Counter(f"{target.split}: encoded", interval)
        begin = time.monotonic()
        result = build_target(target, limit=limit, progress=progress)
        progress.end()
        bound = f", {result.times.sentence()}" if result.built else ""
        notice(
            f"{target.split}: {result.complete} of {len(target.rows)} trajectories complete,"
            f" {result.built} encoded in {human_seconds(time.monotonic() - begin)}{bound}, {target.path}"
        )
        built.append(
            {
                "name": target.split,
                "samples": len(target.rows),
                "complete": result.complete,
                "built": result.built,
                "time_shares": result.times.shares,
                "path": str(target.path),
            }
        )
    if as_json:
        print_json({"splits": built})


@app.command()
def repair(
    run: Run = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Mend what the quick check finds, without reading every byte.")
    ] = False,
    interval: Interval = None,
    as_json: AsJson = False,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
) -> None:
    """Check every byte, and encode again what is bad or missing; what is sound keeps its bytes."""
    context = _context_of(run, preset, config, overrides)
    from ups_engine.latents.building.repair import repair_target

    repairs = []
    for target in context.targets:
        checked = Counter(f"{target.split}: verified", interval)
        encoded = Counter(f"{target.split}: encoded", interval)
        done = repair_target(target, deep=not quick, checked=checked, encoded=encoded)
        checked.end()
        encoded.end()
        notice(done.sentence())
        repairs.append(done)
    if as_json:
        print_json({"splits": [done.to_json() for done in repairs]})


@app.command()
def clear(
    run: Run = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Instead: every cache that belongs to no run's present encoder.")
    ] = False,
    all_: Annotated[bool, typer.Option("--all", help="Instead: every cache in the cache folder.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
) -> None:
    """Remove the caches of a run's encoder, after asking. Training encodes them again when it needs them.

    Nothing outside of the cache folder is touched, nor what a live run or a build uses. Exit code 0: all that was
    meant is gone; 1: nothing was, or something is in use and stayed.
    """
    if stale and all_:
        raise UsageError("--stale and --all exclude each other", "--all removes stale caches too")
    stores = _chosen(run, stale, all_, preset, config, overrides)
    if stores and not yes and not _agreed(stores):
        notice("nothing was removed")
        raise typer.Exit(_REFUSED)
    from ups_engine.latents.clear import clear_stores

    cleared = clear_stores(stores)
    for store, reason in cleared.kept:
        notice(f"{store.path.name} stays: {reason}")
    if not stores:
        notice("there is nothing to remove")
    else:
        count, size = len(cleared.removed), sum(store.bytes for store in cleared.removed)
        notice(f"removed {_counted(count)}, {human_bytes(size)}")
    if as_json:
        print_json(cleared.to_json())
    if cleared.kept:
        raise typer.Exit(_REFUSED)


def _context_of(
    run: str | None, preset: str | None, config: Path | None, overrides: list[str] | None
) -> "CacheContext":
    """The caches of a run, or of the current settings; says on stderr whose they are."""
    settings = resolve_settings(preset, config, overrides).settings
    from ups_engine.pipeline.reopen import cache_context

    context = cache_context(settings, run)
    notice(context.note)
    return context


def _print_report(report: "CacheReport") -> None:
    from ups_engine.latents.checking.examine import RowState

    order = (RowState.COMPLETE, RowState.MISSING, RowState.STALE, RowState.CORRUPT)
    headers = ("split", "samples", *(state.name.lower() for state in order), "on disk", "in RAM")
    rows: list[tuple[Cell, ...]] = []
    for split in report.splits:
        in_ram = human_bytes(split.target.layout.memory_bytes)
        counts = [len(split.states), *map(split.count, order)]
        rows.append((split.target.split, *counts, human_bytes(split.bytes_on_disk), in_ram))
    print_table(headers, rows)
    print()
    print(f"RAM: {human_bytes(report.memory.available_bytes)} free under {report.memory.limit_source}")
    for gpu in report.gpus:
        print(f"GPU {gpu.index}: {human_bytes(gpu.free_bytes)} of {human_bytes(gpu.total_bytes)} free, {gpu.name}")
    print()
    print(textwrap.fill(report.verdict(), width=shutil.get_terminal_size((100, 24)).columns, break_on_hyphens=False))


def _chosen(
    run: str | None,
    stale: bool,
    all_: bool,
    preset: str | None,
    config: Path | None,
    overrides: list[str] | None,
) -> "tuple[FoundStore, ...]":
    """The caches that are to go."""
    from ups_engine.latents.clear import find_stores, stale_stores
    from ups_engine.latents.location import cache_root

    if not stale and not all_:
        context = _context_of(run, preset, config, overrides)
        wanted = {target.path for target in context.targets}
        return tuple(
            store for root in {path.parent for path in wanted} for store in find_stores(root) if store.path in wanted
        )
    settings = resolve_settings(preset, config, overrides).settings
    runs_root = Path(settings.runs.root)
    if run is not None:
        from ups_engine.pipeline.run import run_settings
        from ups_engine.runs.directory import RunDirectory

        settings = run_settings(RunDirectory.find(run, runs_root))
    root = cache_root(settings)
    notice(f"caches in {root.absolute()}")
    stores = find_stores(root)
    if all_:
        return stores
    from ups_engine.pipeline.reopen import wanted_caches

    fingerprints, encoders, runs = wanted_caches(runs_root)
    notice(f"stale is what belongs to none of the {runs} runs with an encoder in {runs_root.absolute()}")
    return stale_stores(stores, fingerprints, encoders)


def _agreed(stores: "tuple[FoundStore, ...]") -> bool:
    for line in table_lines(("cache", "size"), [(store.path.name, human_bytes(store.bytes)) for store in stores]):
        notice(line)
    return sure(f"remove {_counted(len(stores))}, {human_bytes(sum(store.bytes for store in stores))}?")


def _counted(count: int) -> str:
    return f"{count} cache{'' if count == 1 else 's'}"
