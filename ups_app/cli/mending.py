"""`ups cache repair` and `ups cache clear`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli.caches import Interval, Run, cache_context_of
from ups_app.cli.counter import Counter
from ups_app.cli.options import AsJson, Config, Preset, Set, resolve_settings, sure
from ups_app.cli.output import notice, print_json, table_lines
from ups_engine.telemetry.units import human_bytes

if TYPE_CHECKING:
    from ups_engine.latents.clear import FoundStore

REFUSED = 1


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
    context = cache_context_of(run, preset, config, overrides)
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
    from ups_engine.errors import UsageError

    if stale and all_:
        raise UsageError("--stale and --all exclude each other", "--all removes stale caches too")
    stores = _chosen(run, stale, all_, preset, config, overrides)
    if stores and not yes and not _agreed(stores):
        notice("nothing was removed")
        raise typer.Exit(REFUSED)
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
        raise typer.Exit(REFUSED)


def register(app: typer.Typer) -> None:
    """Add the commands to their group."""
    for command in (repair, clear):
        app.command()(command)


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
        context = cache_context_of(run, preset, config, overrides)
        wanted = {target.path for target in context.targets}
        return tuple(
            store for root in {path.parent for path in wanted} for store in find_stores(root) if store.path in wanted
        )
    settings = resolve_settings(preset, config, overrides).settings
    runs_root = Path(settings.runs.root)
    if run is not None:
        from ups_engine.pipeline import run_settings
        from ups_engine.runs.directory import RunDirectory

        settings = run_settings(RunDirectory.find(run, runs_root))
    root = cache_root(settings)
    notice(f"caches in {root.absolute()}")
    stores = find_stores(root)
    if all_:
        return stores
    from ups_engine.revisit import wanted_caches

    wanted_by = wanted_caches(runs_root)
    notice(f"stale is what belongs to none of the {wanted_by.runs} runs with an encoder in {runs_root.absolute()}")
    return stale_stores(stores, wanted_by.fingerprints, wanted_by.encoders)


def _agreed(stores: "tuple[FoundStore, ...]") -> bool:
    for line in table_lines(("cache", "size"), [(store.path.name, human_bytes(store.bytes)) for store in stores]):
        notice(line)
    return sure(f"remove {_counted(len(stores))}, {human_bytes(sum(store.bytes for store in stores))}?")


def _counted(count: int) -> str:
    return f"{count} cache{'' if count == 1 else 's'}"
