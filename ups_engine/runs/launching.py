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

from ups_engine.errors import RunError, UpsError, UsageError
from ups_engine.runs.atomic import explaining_disk_errors
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.lease import owner_of

_LOOKS_APART = 0.05
_TAIL = 1 << 14  # bytes of the log in which the reason of an early end is looked for
_GOOD_ENDS = (0, 3)  # finished; stopped or parked


def launch_and_wait(run: RunDirectory, command: Sequence[str], timeout: float = 60.0) -> int | None:
    """Start a command that works on a run and wait until it owns it, from when on commands to the run are answered.

    It runs in the run's working folder; its output goes behind what log.txt has.

    Args:
        run: that the command will own.
        command: program and arguments, with the exit codes of `ups train`.
        timeout: seconds after which the process, which is alive, is left to itself.

    Returns:
        The pid; None when the process has come to a good end already.

    Raises:
        RunError: the log cannot be written, or there is no such program.
        UsageError, RunError: the process failed at once, with what it said itself.
    """
    before = run.log.stat().st_size if run.log.exists() else 0
    process = _start(run, command)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        code = process.poll()
        if code is not None:
            if code not in _GOOD_ENDS:
                raise _failure(run, before, code)
            return None
        owner = owner_of(run)
        if owner is not None and owner.pid == process.pid:
            break
        time.sleep(_LOOKS_APART)
    return process.pid


def _start(run: RunDirectory, command: Sequence[str]) -> subprocess.Popen[bytes]:
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
    return process


def _failure(run: RunDirectory, offset: int, code: int) -> UpsError:
    """What a process that failed said last, in the part of the log behind an offset."""
    with explaining_disk_errors(run.log), run.log.open("rb") as log:
        log.seek(max(offset, os.fstat(log.fileno()).st_size - _TAIL))
        lines = log.read().decode("utf-8", "replace").splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if not errors:
        why = f"was killed by signal {-code}" if code < 0 else f"ended at once with exit code {code}"
        last = f"; its last line: {lines[-1].strip()}" if lines else ""
        return RunError(f"the process of run {run.name} {why}{last}", f"its output is in {run.log}")
    message, *hints = lines[errors[-1] :]
    said = message.removeprefix("error: "), hints[0].strip() if hints else f"see {run.log}"
    return UsageError(*said) if code == UsageError.exit_code else RunError(*said)
