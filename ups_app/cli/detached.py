"""Starting training as a process of its own."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ups_app.cli.output import notice

if TYPE_CHECKING:
    from ups_engine.runs.directory import RunDirectory


def start_detached(
    run: "RunDirectory", *, only: Sequence[str] = (), skip: Sequence[str] = (), options: Sequence[str] = ()
) -> int | None:
    """Begin or go on with a run in a process that outlives this one, and wait until it owns the run.

    Args:
        run: without a live owner.
        only: stages to run; see `ups train --stage`.
        skip: stages to leave out.
        options: further ones for `ups train`.

    Returns:
        The pid; None when nothing was left to do.

    Raises:
        RunError: a live process owns the run.
        SettingsError: the run's settings are damaged.
        UsageError, RunError: the process failed at once, with its own words.
        KeyboardInterrupt: interrupted while waiting, which the new process does not feel.
    """
    from ups_engine.config.archive import settings_from_toml
    from ups_engine.runs.launching import launch_and_wait
    from ups_engine.runs.lease import refuse_owned

    refuse_owned(run)
    # Read here too: the process reads them when it owns the run, which is what is waited for.
    settings_from_toml(run.settings_toml, str(run.path / "settings.toml"))
    # -P: a file in the working folder must not pass for a module.
    command = [sys.executable, "-P", "-m", "ups_app", "train", "--headless", "--resume", str(run.path), *options]
    for option, stages in (("--stage", only), ("--skip", skip)):
        for stage in stages:
            command += [option, stage]
    try:
        return launch_and_wait(run, command)
    except KeyboardInterrupt:
        notice(f"the run has been launched and goes on; end it with: ups runs stop {run.path}")
        raise
