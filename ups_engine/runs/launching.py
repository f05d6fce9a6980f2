"""Starting a run as a process of its own, which outlives whoever started it.

It has its own session, so that neither a hangup of the terminal nor a signal to its group reaches it, no stream of the
terminal, so that it never writes to one that is gone, and nobody waits for it.
"""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ups_engine.errors import RunError
from ups_engine.runs.atomic import explaining_disk_errors
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.lease import owner_of
from ups_engine.runs.owner import start_time
from ups_engine.runs.state import summarise

_LOOKS_APART = 0.05
_TAIL = 1 << 14  # bytes of the log in which the reason of an early end is looked for


def launch(run: RunDirectory, command: Sequence[str]) -> int:
    """Start a command that works on a run, in the run's working folder; its output goes behind what log.txt has.

    Args:
        run: that the command will own.
        command: program and arguments.

    Returns:
        The pid. The process has only just begun; `launch_and_wait` waits until it owns the run.

    Raises:
        RunError: the log cannot be written, or there is no such program.
    """
    folder = run.record.folder
    with explaining_disk_errors(run.log), run.log.open("ab") as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder if folder.is_dir() else Path.cwd(),  # gone when a project moved with its runs
                start_new_session=True,
            )
        except FileNotFoundError:
            raise RunError(f"there is no program {command[0]}", "install UPS again, or repair its folder") from None
    # A starter that lives long, as the terminal interface does, would else keep the ended process as a zombie.
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process.pid


def launch_and_wait(run: RunDirectory, command: Sequence[str], timeout: float = 60.0) -> int:
    """Launch a command and wait until it owns the run, from when on commands to the run are answered.

    Args:
        run: that the command will own.
        command: program and arguments.
        timeout: seconds after which the process, which is alive, is left to itself.

    Returns:
        The pid.

    Raises:
        RunError: as `launch`; or the process came to its end without having finished the run, with its own error.
    """
    before = run.log.stat().st_size if run.log.exists() else 0
    pid = launch(run, command)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        lives = start_time(pid) is not None
        owner = owner_of(run)
        if owner is not None and owner.pid == pid and owner.alive:
            break
        if not lives:
            if summarise(run).state == "finished":
                break
            raise _early_end(run, before)
        time.sleep(_LOOKS_APART)
    return pid


def _early_end(run: RunDirectory, offset: int) -> RunError:
    """What the process said last, in the part of the log behind an offset."""
    with explaining_disk_errors(run.log), run.log.open("rb") as log:
        log.seek(max(offset, os.fstat(log.fileno()).st_size - _TAIL))
        lines = log.read().decode("utf-8", "replace").splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if not errors:
        last = f", its last line: {lines[-1].strip()}" if lines else " without a word"
        return RunError(f"the process of run {run.name} ended at once{last}", f"its output is in {run.log}")
    said = lines[errors[-1] :]
    return RunError(said[0].removeprefix("error: "), said[1].strip() if len(said) > 1 else f"see {run.log}")
