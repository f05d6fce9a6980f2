"""Who uses a store: builders and runs hold a shared claim on it, so that nobody clears it under them.

The claim is an fcntl lock on an empty file beside the store. It vanishes with its process, however that ends. A
process loses all its locks on a file when it closes any descriptor of it, so the claims of one process on one store
share one descriptor, and nothing else opens that file while they hold it.
"""

import fcntl
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_guard = threading.Lock()
_claims: dict[tuple[Path, int], tuple[int, int]] = {}
"""Descriptor and number of claims, by lock file and process: a forked child has none of its parent's locks."""


class InUse:
    """A claim on a store, held until released, forgotten, or until the process ends. Also a context manager.

    A folder that cannot be written to, or a file system without locks, does not keep anybody from reading: there
    the claim says nothing.

    Args:
        store: the store's folder; it need not exist yet.
    """

    def __init__(self, store: Path) -> None:
        path = lock_file(store)
        _take(path)
        self._release = weakref.finalize(self, _give, path, os.getpid())

    def release(self) -> None:
        """Let go; the second time does nothing."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Unused:
    """The right to do away with a store, taken at once or not at all.

    Args:
        store: the store's folder.

    Attributes:
        granted: whether nobody uses the store, this process included.
    """

    def __init__(self, store: Path) -> None:
        self._path = lock_file(store)
        self._descriptor = -1
        self.granted = (self._path, os.getpid()) not in _claims and self._lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _lock(self) -> bool:
        with suppress(OSError):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False


def lock_file(store: Path) -> Path:
    """The file that carries the claims on a store."""
    return store.absolute().with_name(f".{store.name}.users")


def _take(path: Path) -> None:
    key = path, os.getpid()
    with _guard:
        descriptor, count = _claims.get(key, (-1, 0))
        if not count:
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                fcntl.lockf(descriptor, fcntl.LOCK_SH)
        _claims[key] = descriptor, count + 1


def _give(path: Path, pid: int) -> None:
    with _guard:
        descriptor, count = _claims[path, pid]
        if count > 1:
            _claims[path, pid] = descriptor, count - 1
            return
        del _claims[path, pid]
        if descriptor >= 0:
            os.close(descriptor)
