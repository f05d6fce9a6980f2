"""The `ups` command: its options and groups, and the one place where errors become lines and exit codes."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from ups_app.cli import bench, cache, config, data, runs
from ups_app.cli.doctor import doctor
from ups_app.cli.evaluate import evaluate
from ups_app.cli.output import error
from ups_app.cli.train import train
from ups_app.cli.tui import tui
from ups_engine.errors import UpsError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="ups",
    help="Train latent neural-operator surrogates of PDEs in stages, with errors in physical units.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: no colours to undo in logs, and rich stays unimported
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.command()(tui)
app.command()(evaluate)
app.command()(doctor)
app.add_typer(config.app, name="config", help="Show, check and start settings files.")
app.add_typer(data.app, name="data", help="Make simulation data, or find out what a file holds.")
app.add_typer(cache.app, name="cache", help="Check, build, repair and clear the caches of encoded fields.")
app.add_typer(bench.app, name="bench", help="Measure what training waits for on this machine.")
app.add_typer(runs.app, name="runs", help="List, show, control and remove training runs.")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("universal-physics-stack"))
        raise typer.Exit


@app.callback()
def global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; UPS_DEBUG=1 does the same.")
    ] = False,
) -> None:
    """Options of `ups` itself; their callbacks, and `main`, do what they ask."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    Args:
        arguments: what follows `ups`; None means the process's own arguments. `--debug` is accepted anywhere,
            so that it can be appended to the command that just failed.

    Raises:
        SystemExit: always; 0 success, 1 failed, 2 usage or settings, 130 interrupted, or what the command chose.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in own or os.environ.get("UPS_DEBUG", "0") not in ("", "0")
    rest = [argument for argument in own if argument != "--debug"] + given[len(own) :]
    # Read when torch is loaded. Its threads would else spin between the many small operations of a step, which on a
    # machine shared with others makes training five times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        code = app(args=rest, prog_name="ups", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_closed_pipe()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except Exception as problem:
        if debug:
            traceback.print_exc()
        code = _report(problem)
    if code == EXIT_INTERRUPTED:
        error("interrupted")
    sys.exit(code if isinstance(code, int) else 0)


def _report(problem: Exception) -> int:
    """Say on stderr what went wrong, in one or two lines, and return the exit code."""
    if isinstance(problem, UpsError):
        error(problem.message, problem.hint)
        return problem.exit_code
    if isinstance(problem, typer.Abort):
        error("aborted")
        return EXIT_FAILED
    if isinstance(problem, typer.TyperException):
        _report_usage(problem)
        return problem.exit_code
    error(
        f"{type(problem).__name__}: {str(problem).strip() or 'no message'}", "run again with --debug for the traceback"
    )
    return EXIT_FAILED


def _report_usage(problem: typer.TyperException) -> None:
    context: typer.Context | None = getattr(problem, "ctx", None)
    message = problem.format_message()
    if context is not None and message == context.get_help():  # a group without a command
        print(message, file=sys.stderr)
    else:
        error(message, None if context is None else f"{context.command_path} --help lists what it takes")


def _leave_closed_pipe() -> None:
    """End quietly when the reader of stdout has gone, as `ups runs list | head -1` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(EXIT_FAILED)
