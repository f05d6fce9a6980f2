"""Latents read from disk at random: the chunk files mapped side by side into one range of addresses.

A whole batch is then one gather over that range, as it is from RAM: with the files in the page cache it reaches 80 %
of that rate and more (`ups bench cache`). One ordinary map a chunk file, with one step of Python for each pair, gave
0.39 to 0.45 of this rate for batches of 4,096 pairs, 0.35 of it for 512 and 0.70 for 64, on two cores with one thread.
"""

import ctypes
import mmap
import os
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.errors import CacheError
from ups_engine.latents.layout import Packed
from ups_engine.latents.reading.readers import Faults, HostLatents, Repair, damaged
from ups_engine.latents.store import LatentStore

_MAP_FIXED = 0x10  # of mmap(2); missing from Python's mmap module
_MAPS = 16_384  # chunk files mapped at a time; Linux allows a process 65,530 mappings in all


class DiskLatents(HostLatents):
    """Latents mapped from the chunk files, a trajectory at its first use.

    Pages that were touched count as resident memory of the process until they are dropped, which costs nothing but
    finding them in the page cache again.

    Args:
        store: the store.
        checksums: of its chunks, (samples,), from the manifest.
        device: where batches go.
        resident_bytes: pages are dropped before the chunks in use exceed this.
        repair: mends damaged chunks.
    """

    def __init__(
        self,
        store: LatentStore,
        checksums: NDArray[np.int64],
        device: torch.device,
        resident_bytes: int,
        repair: Repair,
    ) -> None:
        super().__init__(store.layout, device, prefetches=True)
        self._store, self._checksums, self._repair = store, checksums, repair
        page = mmap.ALLOCATIONGRANULARITY
        self._stride = -(-store.layout.chunk_bytes // page) * page
        self._rows_in_use = max(resident_bytes // self._stride, 1)
        size = store.layout.samples * self._stride
        try:
            self._range = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
        except OSError as error:
            raise _no_room(store, error.errno) from error
        self._address = int(np.frombuffer(self._range, np.uint8).ctypes.data)
        memory = (ctypes.c_char * size).from_address(self._address)
        self._numbers = torch.frombuffer(memory, dtype=store.layout.torch_type)
        self._guard = threading.Lock()
        self._verified, self._mapped, self._in_use = np.zeros((3, store.layout.samples), dtype=bool)

    def _read(self, rows: NDArray[np.int64], frames: NDArray[np.int64], horizon: int, *, mend: bool) -> torch.Tensor:
        itemsize, width = self.layout.storage.itemsize, (1 + horizon) * self.layout.frame_numbers
        windows = self._numbers.as_strided((self._numbers.numel() - width + 1, width), (1, 1))
        first = rows * (self._stride // itemsize) + frames * self.layout.frame_numbers
        batch = self._buffers.take((len(rows), width), self.layout.torch_type)
        with self._guard:  # pages may only be dropped, and maps replaced, while nobody reads
            self._use(rows, mend=mend)
            return torch.index_select(windows, 0, torch.from_numpy(first), out=batch)

    def close(self) -> None:
        """See `LatentReader.close`."""
        super().close()
        self._numbers = torch.empty(0)
        self._range.close()

    def _use(self, rows: NDArray[np.int64], *, mend: bool) -> None:
        """See to it that rows are verified and mapped, and that not too many others are in use beside them."""
        if self._in_use[rows].all():
            return
        fresh = np.count_nonzero(~self._in_use[rows])
        if np.count_nonzero(self._in_use) + fresh > self._rows_in_use:
            self._range.madvise(mmap.MADV_DONTNEED)
            self._in_use[:] = False
        if np.count_nonzero(self._mapped) + fresh > _MAPS:
            self._place(0, len(self._range), -1)
            self._mapped[:] = self._in_use[:] = False
        if faults := self._map(np.unique(rows[~self._mapped[rows]]).tolist()):
            if not mend:
                raise damaged(self._store, faults)
            self._checksums = self._repair(faults)
            if faults := self._map(faults):
                raise damaged(self._store, faults)
        self._in_use[rows] = True

    def _map(self, rows: Iterable[int]) -> Faults:
        """Verify, if that was not done before, and map some rows; what could not be is returned with the reason."""
        scratch: Packed = np.empty(self.layout.row_shape, self.layout.storage)
        faults: Faults = {}
        for row in rows:
            fault = None if self._verified[row] else self._store.read(row, scratch, int(self._checksums[row]))
            fault = fault or self._map_file(row)
            if fault is not None:
                faults[row] = fault
                continue
            self._verified[row] = self._mapped[row] = True
        return faults

    def _map_file(self, row: int) -> str | None:
        try:
            descriptor = os.open(self._store.chunk(row), os.O_RDONLY)
        except OSError as error:
            return f"its file cannot be opened ({error.strerror})"
        try:
            if os.fstat(descriptor).st_size != self.layout.chunk_bytes:
                return "its file has the wrong size"
            self._place(row * self._stride, self.layout.chunk_bytes, descriptor)
        finally:
            os.close(descriptor)
        return None

    def _place(self, offset: int, size: int, descriptor: int) -> None:
        """Lay a file, or with descriptor -1 nothing, over a part of the range; what was there is unmapped."""
        kind = mmap.MAP_SHARED if descriptor >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        wanted = self._address + offset
        if _libc().mmap(wanted, size, mmap.PROT_READ, kind | _MAP_FIXED, descriptor, 0) != wanted:
            raise _no_room(self._store, ctypes.get_errno())


def _no_room(store: LatentStore, code: int | None) -> CacheError:
    return CacheError(
        f"cannot map the latents of {store.path}: {os.strerror(code or 0)}",
        "use --set latent.residency=ram, or raise the limits of address space (ulimit -v) and of mappings",
    )


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    return libc
