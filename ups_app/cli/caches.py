"""What the commands of `ups cache` share: which caches are meant."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ups_app.cli.options import resolve_settings
from ups_app.cli.output import notice

if TYPE_CHECKING:
    from ups_engine.latents.target import CacheContext

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


def cache_context_of(
    run: str | None, preset: str | None, config: Path | None, overrides: list[str] | None
) -> "CacheContext":
    """The caches of a run, or of the current settings; says on stderr whose they are.

    Raises:
        UpsError: there is no such run, or no encoder that fits.
    """
    settings = resolve_settings(preset, config, overrides).settings
    from ups_engine.pipeline.reopen import cache_context

    context = cache_context(settings, run)
    notice(context.note)
    return context
