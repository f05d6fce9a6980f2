"""Claims by which several builders share one store.

One empty file beside the store carries them as fcntl byte ranges: byte 0 for the manifest, byte 1 + k for block k.
Such locks vanish with the process that holds them, however it ends, and reach across machines where the file system
carries them. They are the process's own: one builder of a store per process.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ups_engine.errors import CacheError
from ups_engine.runs.atomic import explaining_disk_errors

_HELD = (errno.EACCES, errno.EAGAIN)


class StoreLock:
    """The claims of this process on a store.

    Args:
        store: the store's folder; it need not exist yet, its parent is made.

    Raises:
        CacheError: the file system has no locks.
        RunError: the folder cannot be written to.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(f".{store.name}.lock")
        with explaining_disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)  # which drops every claim

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no other builder creates the store or writes its manifest, and keep it so for the block."""
        self._lock(fcntl.LOCK_EX, 0)
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_UN, 0)

    def claim(self, block: int) -> bool:
        """Take a block, unless another process has it."""
        return self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, 1 + block)

    def claim_all(self) -> bool:
        """Take the manifest and every block at once, unless another process has any of them."""
        return self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 0)

    def release(self, block: int) -> None:
        """Give a block back. Only after the manifest holds what was written of it."""
        self._lock(fcntl.LOCK_UN, 1 + block)

    def _lock(self, operation: int, byte: int, length: int = 1) -> bool:
        """Lock or unlock `length` bytes, 0 for all from `byte` on; False where another process has one of them."""
        try:
            fcntl.lockf(self._descriptor, operation, length, byte)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise CacheError(
                f"the file system of {self._path.parent} has no file locks ({error.strerror})",
                "set latent.cache_dir to a folder on a local disk",
            ) from error
        return True
