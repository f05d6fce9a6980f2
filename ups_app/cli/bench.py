"""The group `ups bench`: how fast this machine does what training waits for."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ups_app.cli.options import AsJson, Config, Preset, Set, resolve_settings
from ups_app.cli.output import Cell, notice, print_json, print_table
from ups_engine.telemetry.units import human_bytes

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def cache(
    size: Annotated[int, typer.Option("--size", min=8, metavar="MIB", help="Size of the cache that is made.")] = 256,
    pairs: Annotated[int, typer.Option("--pairs", min=1, metavar="N", help="Pairs of a batch on the host.")] = 4096,
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"], typer.Option("--dtype", help="Its number format.")
    ] = "float32",
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="On the disk that is meant. Without it where caches are.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
) -> None:
    """Build and read a cache beside the machine's own ceilings: copies, gathers, files read in order.

    On the device of runtime.device.
    """
    settings = resolve_settings(preset, config, overrides).settings
    from ups_engine.bench.cache import bench_cache
    from ups_engine.latents.location import cache_root
    from ups_engine.training.machine import pick_device

    device = pick_device(settings.runtime)
    place = cache_root(settings) if folder is None else folder
    report = bench_cache(place, device, size=size << 20, pairs=pairs, dtype=dtype, doing=notice)
    if as_json:
        print_json(report.to_json())
        return
    rows: list[tuple[Cell, ...]] = []
    for reading in report.readings:
        share = "" if reading.share is None else f"{reading.share:.0%}"
        rows.append((reading.name, f"{human_bytes(round(reading.rate))}/s", share, reading.bound or ""))
    print_table(("", "rate", "reached", "of"), rows)
    print(f"\nthe build was {report.times.sentence()}")
    opening = f"open in {report.open_seconds:.3f} s"
    print(f"{human_bytes(report.cache_bytes)} in {report.trajectories} trajectories, {opening}, on {report.device}")
