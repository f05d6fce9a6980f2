"""Claims on a store: of builders on its blocks, so that several share one, and of its users, so that nobody clears it.

Two empty files beside the store carry them as locks (`runs.locks`), which vanish with the process that holds them.
"""

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ups_engine.errors import CacheError
from ups_engine.runs.atomic import explaining_disk_errors
from ups_engine.runs.locks import LockFile


class StoreClaim(ExitStack):
    """A user's claim on a store, held until closed or forgotten.

    A folder that cannot be written to, or a file system without locks, does not keep anybody from reading: there
    the claim says nothing.

    Args:
        store: the store's folder; it need not exist yet.
    """

    def __init__(self, store: Path) -> None:
        super().__init__()
        with suppress(OSError):
            store.absolute().parent.mkdir(parents=True, exist_ok=True)
            file = self.enter_context(LockFile(_beside(store, "users")))
            weakref.finalize(self, file.close)
            file.lock(shared=True, wait=True)


class SoleClaim(ExitStack):
    """The right to do away with a store, taken at once or not at all.

    Args:
        store: the store's folder.

    Attributes:
        granted: whether nobody uses the store, this process included.
    """

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.granted = False
        with suppress(OSError):
            self.granted = self.enter_context(LockFile(_beside(store, "users"), alone=True)).lock()


class StoreLock(ExitStack):
    """Builders' claims on a store: byte 0 of the file is the manifest's, byte 1 + k that of block k.

    Other processes are kept out: a process has one builder of a store at a time.

    Args:
        store: the store's folder; it need not exist yet, its parent is made.

    Raises:
        CacheError: the file system has no locks.
        RunError: the folder cannot be written to.
    """

    def __init__(self, store: Path) -> None:
        super().__init__()
        path = _beside(store, "lock")
        with explaining_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._locks = self.enter_context(LockFile(path))
        self._folder = path.parent

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no other builder creates the store or writes its manifest, and keep it so for the block."""
        with self._explained():
            self._locks.lock(0, 1, wait=True)
        try:
            yield
        finally:
            self._locks.unlock(0, 1)

    def claim(self, block: int) -> bool:
        """Take a block, unless another process has it."""
        with self._explained():
            return self._locks.lock(1 + block, 1)

    def claim_all(self) -> bool:
        """Take the manifest and every block at once, unless another process has any of them."""
        with self._explained():
            return self._locks.lock()

    def unclaim(self, block: int) -> None:
        """Give a block back. Only after the manifest holds what was written of it."""
        self._locks.unlock(1 + block, 1)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"the file system of {self._folder} has no file locks ({error.strerror})",
                "set latent.cache_dir to a folder on a local disk",
            ) from error


def _beside(store: Path, kind: str) -> Path:
    return store.absolute().with_name(f".{store.name}.{kind}")
