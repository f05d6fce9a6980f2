"""Locks of this process on files, in one registry, for whoever needs them: runs, caches and their builders.

They are fcntl locks (POSIX): they vanish with the process that holds them, however it ends, reach across machines where
the file system carries them, and a forked child has none of its parent's. Others (flock, open file descriptions)
would live on in a child after its parent was killed.

They have one trap: a process loses all its locks on a file when it closes any descriptor of it. So nothing but this
module opens a file that carries locks, and here a process never has two descriptors of one: all who use the file
share it.
"""

import errno
import fcntl
import os
import struct
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
_HELD = {errno.EACCES, errno.EAGAIN}
_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi"

Key: TypeAlias = tuple[int, int]
"""Device and inode of a file."""


@dataclass
class _Opened:
    """A file's only descriptor in this process, how many use it, and whether the one who does wants no other."""

    descriptor: int
    users: int
    alone: bool


_guard = threading.RLock()
_opened: dict[Key, _Opened] = {}


class LockFile:
    """A file that carries locks, made where missing. Also a context manager.

    Threads of this process are not kept apart by the locks that they take through it, but by `alone`.

    Args:
        path: the file; its folder exists.
        alone: nobody else in this process may use the file meanwhile.

    Raises:
        BlockingIOError: somebody else in this process uses the file, and they or we want to be alone.
        OSError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        with _guard:
            self._key = _key_of(path)
            opened = _opened.get(self._key) if self._key else None
            if opened is None:
                # not inherited by programs that this process starts
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                status = os.fstat(descriptor)
                self._key = status.st_dev, status.st_ino
                opened = _opened[self._key] = _Opened(descriptor, 0, alone)
            elif alone or opened.alone:
                raise BlockingIOError(errno.EAGAIN, "this process uses the file already", str(path))
            opened.users += 1
            self._descriptor, self._pid = opened.descriptor, os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def open(self) -> bool:
        """Whether it is still in use; never in a forked child, which has none of its parent's locks."""
        return self._pid == os.getpid()

    def close(self) -> None:
        """Leave the file, and with the last one who does its locks; does nothing in a child, or the second time."""
        with _guard:
            if not self.open or self._key is None:
                return
            self._pid = -1
            opened = _opened[self._key]
            opened.users -= 1
            if not opened.users:
                del _opened[self._key]
                os.close(opened.descriptor)

    def lock(self, first: int = 0, length: int = 0, *, shared: bool = False, wait: bool = False) -> bool:
        """Lock bytes, which need not exist.

        Args:
            first: first byte.
            length: bytes; 0 for all from `first` on.
            shared: beside others who lock them so.
            wait: until they are free.

        Returns:
            Whether they are locked now; not where another process has one of them.

        Raises:
            OSError: the file system refuses; see `without_locks`.
        """
        operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.lockf(self._descriptor, operation, length, first)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise
        return True

    def unlock(self, first: int, length: int) -> None:
        """Give bytes back."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, length, first)

    def locker(self) -> int | None:
        """Tell the pid of another process that has any byte, 0 on some other machine; None when none has."""
        return _locker(self._descriptor)


def is_locked(path: Path) -> bool | None:
    """Tell whether any process uses the file (this one) or has locked it (another); None when that cannot be seen."""
    with _guard:
        if _key_of(path) in _opened:
            return True
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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


def without_locks(error: OSError) -> bool:
    """Whether an error of `LockFile.lock` says that the file system has no locks."""
    return error.errno in _NO_LOCKS


def _key_of(path: Path) -> Key | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _locker(descriptor: int) -> int | None:
    """See `LockFile.locker`; only asks, never locks."""
    kind, pid = (3, 2) if sys.platform == "darwin" else (0, 4)
    query = (0, 0, 0, fcntl.F_WRLCK, 0) if sys.platform == "darwin" else (fcntl.F_WRLCK, 0, 0, 0, 0)
    answer = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, *query)))
    return None if answer[kind] == fcntl.F_UNLCK else int(answer[pid])


def _forget() -> None:
    """In a forked child: what its parent has locked is not the child's."""
    global _guard
    _guard = threading.RLock()
    _opened.clear()


os.register_at_fork(after_in_child=_forget)
