"""Exactly one process owns a run.

The owner holds a lock on `owner.lock` (`locks`), which the kernel drops when the process ends, however it ends;
children do not inherit it. For readers, and for file systems whose locks do not reach other machines, the owner also
enters itself in run.json as (pid, start time, boot id, host).
"""

import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import Self

from ups_engine.errors import RunError, UpsError
from ups_engine.runs.atomic import explaining_disk_errors, remove_temporaries
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import find_last
from ups_engine.runs.locks import LockFile, is_locked, without_locks
from ups_engine.runs.owner import Owner

HEARTBEAT_LIMIT = 15.0
"""Seconds without a sign of life after which an owner that cannot be looked up counts as gone."""
_LOCK_FILE = "owner.lock"


class Lease:
    """The right to write a run, held until released or until the process ends. Also a context manager."""

    def __init__(self, run: RunDirectory, file: LockFile) -> None:
        self._run, self._file = run, file

    @classmethod
    def acquire(cls, run: RunDirectory, ranks: int = 1) -> Self:
        """Become the owner of a run.

        Args:
            run: an existing run.
            ranks: processes that take part in the training; only one of them acquires.

        Raises:
            RunError: a live process owns the run, run.json is damaged, or the disk refuses.
        """
        path = run.path / _LOCK_FILE
        with explaining_disk_errors(path):
            try:
                file = LockFile(path, alone=True)
            except BlockingIOError:
                raise _refusal(run, run.record.owner, os.getpid()) from None
            try:
                _enter(run, file, ranks)
            except BaseException:
                file.close()
                raise
        return cls(run, file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go of the run; does nothing in a forked child, or the second time."""
        if not self._file.open:
            return
        with suppress(UpsError):  # on a full disk the entry stays; readers see that the lock is free
            self._run.write_owner(None)
        self._file.close()


def _enter(run: RunDirectory, file: LockFile, ranks: int) -> None:
    """Lock a run and enter this process as its owner."""
    try:
        got: bool | None = file.lock()
    except OSError as error:
        if not without_locks(error):
            raise
        got = None
    recorded = run.record.owner
    if got is False:
        raise _refusal(run, recorded, file.locker())
    # Ours, but where locks do not work, or do not reach other machines, another owner may live.
    if recorded and _alive(recorded, run, locked=False if got else None):
        raise _refusal(run, recorded, recorded.pid)
    remove_temporaries(run.path)
    remove_temporaries(run.checkpoints)
    run.write_owner(Owner.this_process(ranks))


def owner_of(run: RunDirectory, *, silence: float | None = None) -> Owner | None:
    """Tell who owns a run, and whether it lives.

    Args:
        run: the run.
        silence: seconds since its last event, if known; else looked up when needed.

    Returns:
        None when nobody owns it. `alive` holds when the run's lock is held, when exactly this process is seen on
        this machine, or, where neither can be seen, when the run's last event is less than 15 s old.

    Raises:
        RunError: run.json is missing or damaged.
    """
    owner = run.record.owner
    if owner is None:
        return None
    return replace(owner, alive=_alive(owner, run, locked=is_locked(run.path / _LOCK_FILE), silence=silence))


def refuse_owned(run: RunDirectory) -> None:
    """Do nothing for a run that nobody owns.

    Raises:
        RunError: a live process owns it, or run.json is damaged.
    """
    owner = owner_of(run)
    if owner is not None and owner.alive:
        raise _refusal(run, owner, owner.pid)


def _alive(owner: Owner, run: RunDirectory, *, locked: bool | None, silence: float | None = None) -> bool:
    """Judge an owner; `locked` is whether the lock is held, None when the file system does not say."""
    if locked or (owner.process_exists() and owner.pid != os.getpid()):  # this process knows what it holds
        return True
    if locked is False and owner.on_this_kernel():
        return False
    if silence is None:
        last, _ = find_last(run.events)
        silence = time.time() - last.time if last else HEARTBEAT_LIMIT
    return silence < HEARTBEAT_LIMIT


def _refusal(run: RunDirectory, recorded: Owner | None, pid: int | None) -> RunError:
    if recorded and pid in (None, 0, recorded.pid):  # a lock on another machine has no pid here
        who = f"pid {recorded.pid} on {recorded.host}"
    else:
        who = f"pid {pid} on {os.uname().nodename}" if pid else "another process"
    return RunError(
        f"run {run.name} is owned by a live process: {who}",
        f"end it first with `ups runs stop {run.name}`; a machine that went down is given up after 15 seconds",
    )
