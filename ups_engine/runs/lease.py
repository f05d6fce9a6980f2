"""Exactly one process owns a run.

The owner holds an fcntl lock on `owner.lock`, which the kernel drops when the process ends, however it ends; children
do not inherit it. For readers, and for file systems whose locks do not reach other machines, the owner also enters
itself in run.json as (pid, start time, boot id, host).

POSIX locks have one trap: a process loses its lock when it closes any descriptor of the locked file. So nothing but
this module opens the lock file, and it opens none that its own process holds.
"""

import errno
import fcntl
import os
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from ups_engine.errors import RunError
from ups_engine.runs.atomic import explaining_disk_errors, remove_temporaries
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import last_event
from ups_engine.runs.owner import Owner

HEARTBEAT_LIMIT = 15.0
"""Seconds without a sign of life after which an owner that cannot be looked up counts as gone."""
_LOCK_FILE = "owner.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi"

_guard = threading.RLock()
_held: dict[tuple[int, int], int] = {}
"""Lock files, by device and inode, with the process that locked them: a forked child finds its parent's pid here."""


class Lease:
    """The right to write a run, held until released or until the process ends. Also a context manager."""

    def __init__(self, run: RunDirectory, descriptor: int, key: tuple[int, int], owner: Owner) -> None:
        self.run = run
        self.owner = owner
        self._descriptor = descriptor
        self._key = key

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
        with _guard, explaining_disk_errors(path):
            if _held_here(path):
                raise _refusal(run, run.record.owner, os.getpid())
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # not inherited by programs it starts
            try:
                got = _lock(descriptor)
                recorded = run.record.owner
                if got is False:
                    raise _refusal(run, recorded, _locker(descriptor))
                # Ours, but where locks do not work, or do not reach other machines, another owner may live.
                if recorded and _alive(recorded, run, locked=False if got else None):
                    raise _refusal(run, recorded, recorded.pid)
                owner = Owner.this_process(ranks)
                remove_temporaries(run.path)
                remove_temporaries(run.checkpoints)
                run.write_owner(owner)
            except BaseException:
                os.close(descriptor)
                raise
            status = os.fstat(descriptor)
            key = (status.st_dev, status.st_ino)
            _held[key] = os.getpid()
        return cls(run, descriptor, key, owner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go of the run; does nothing in a forked child, or the second time."""
        with _guard:
            if _held.get(self._key) != os.getpid():
                return
            with suppress(RunError):  # on a full disk the entry stays; readers see that the lock is free
                self.run.write_owner(None)
            del _held[self._key]
            os.close(self._descriptor)


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
    return owner.with_alive(_alive(owner, run, locked=_is_locked(run.path / _LOCK_FILE), silence=silence))


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
        last = last_event(run.events)
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


def _lock(descriptor: int) -> bool | None:
    """Take the lock; False when another process has it, None when the file system has no locks."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _locker(descriptor: int) -> int | None:
    """Give the pid of the other process that holds the lock, None when nobody does; only asks, never locks."""
    kind, pid = (3, 2) if sys.platform == "darwin" else (0, 4)
    query = (0, 0, 0, fcntl.F_WRLCK, 0) if sys.platform == "darwin" else (fcntl.F_WRLCK, 0, 0, 0, 0)
    answer = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, *query)))
    return None if answer[kind] == fcntl.F_UNLCK else int(answer[pid])


def _is_locked(path: Path) -> bool | None:
    """Tell whether any process holds the lock; None when the file system does not say."""
    with _guard:
        if _held_here(path):
            return True
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:
            return None
        try:
            return _locker(descriptor) is not None
        except OSError:
            return None
        finally:
            os.close(descriptor)


def _held_here(path: Path) -> bool:
    """Tell whether this very process holds the lock, without opening the file."""
    try:
        status = path.stat()
    except OSError:
        return False
    return _held.get((status.st_dev, status.st_ino)) == os.getpid()
