"""The group `ups data`: simulation data made by UPS's solvers, and what a file holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli.counter import Counter
from ups_app.cli.options import AsJson, Config, Preset, Set, resolve_settings
from ups_app.cli.output import notice, print_json, print_table
from ups_engine.telemetry.units import human_bytes

if TYPE_CHECKING:
    from ups_engine.data.inspect import Description

app = typer.Typer(no_args_is_help=True)


@app.command()
def make(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A PDE that UPS solves, such as burgers1d.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PATH", help="File (.h5, .hdf5) or folder; else under data.root."),
    ] = None,
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
    as_json: AsJson = False,
) -> None:
    """Solve a PDE for random initial states and write PDEBench's layout; sizes are the settings data.generate."""
    data = resolve_settings(preset, config, overrides).settings.data
    from ups_engine.data import generate
    from ups_engine.data.sources.files import SUFFIXES

    path = generate.generated_path(task, data)
    if output is not None:
        named = output.suffix.lower() in SUFFIXES and not output.is_dir()
        path = output if named else output / path.name
    counter = Counter("solved")
    generate.make(task, data.generate, path, notice, lambda what, done, total: counter(done, total))
    counter.end()
    if as_json:
        print_json({"path": str(path), "task": task, "bytes": path.stat().st_size})
    else:
        print(path)


@app.command()
def inspect(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file, a folder or a quoted pattern.")],
    preset: Preset = None,
    config: Config = None,
    overrides: Set = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file is, what it holds, and what UPS would do with it under the current settings."""
    settings = resolve_settings(preset, config, overrides, quiet=as_json).settings
    from ups_engine.data.inspect import describe

    description = describe(path, settings)
    if as_json:
        print_json(description.to_json())
    else:
        _print(description)


def _print(description: "Description") -> None:
    info = description.info
    files = str(info.files[0]) + (f" and {len(info.files) - 1} more" if len(info.files) > 1 else "")
    axes = [
        f"{axis[0]:g} to {axis[-1]:g}{f' {unit}' if unit else ''}; {ends}"
        for axis, ends, unit in zip(info.coordinates, info.boundaries, info.units_of_axes, strict=True)
    ]
    time = "unknown; set data.dt" if info.dt is None else f"{info.time[0]:g} to {info.time[-1]:g}, dt = {info.dt:g}"
    time += f" {info.time_unit.split(' since ')[0]}" if info.time_unit else ""
    print_table(
        ("property", "value"),
        [
            ("file", files),
            ("format", info.format),
            ("task", info.task),
            ("trajectories", str(info.trajectories)),
            ("frames", str(info.frames)),
            ("resolution", "x".join(map(str, info.resolution))),
            *((f"axis {number}", text) for number, text in enumerate(axes, start=1)),
            ("time", time),
            *((name, ", ".join(f"{value:g}" for value in values)) for name, values in description.parameters.items()),
            ("size", human_bytes(info.bytes)),
        ],
    )
    print()
    print_table(
        ("field", "shape", "dtype", "unit", "sampled min", "sampled max"),
        [
            (
                field.spec.name,
                "x".join(map(str, field.shape)),
                field.spec.dtype,
                field.spec.unit,
                field.low,
                field.high,
            )
            for field in description.fields
        ],
    )
    for field in description.fields:
        if not field.finite:
            notice(f"warning: {field.spec.name} holds non-finite values; find and leave out with data.exclude")
    print()
    print("What UPS would do:")
    for sentence in description.plan:
        print(f"  {sentence}")
