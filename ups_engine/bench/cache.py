"""How fast caches are built, opened and read on this machine, beside what the machine itself can do.

Measured on a cache made for the purpose: a small grid, a real encoder, and fields that come from memory.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.bench.rates import Reading, delivery_rates, device_rates, host_rates
from ups_engine.config.models import ConvSettings
from ups_engine.discretisation.arrays import Values
from ups_engine.latents.building.builder import BuildTimes
from ups_engine.latents.building.completion import build_target
from ups_engine.latents.fingerprint import Fingerprint
from ups_engine.latents.layout import CacheDtype, pack
from ups_engine.latents.location import store_path
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.reading.readers import LatentReader
from ups_engine.latents.store import ARRAY, LatentStore
from ups_engine.latents.target import CacheTarget
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.tokens import TokenGrid

FRAMES, POINTS, PATCH, DIM = 41, 256, 8, 16
_SOURCES = 64  # different trajectories of fields
_ENCODER = ConvSettings(hidden=64, depth=2)
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class CacheBench:
    """What `bench_cache` found.

    Attributes:
        trajectories: of the cache.
        cache_bytes: of its chunk files.
        pairs: of a batch on the host.
        device: that encoded and got the batches.
        open_seconds: until the complete cache is open as `disk`.
        times: what the build waited for.
        readings: in the order they were taken.
    """

    trajectories: int
    cache_bytes: int
    pairs: int
    device: str
    open_seconds: float
    times: BuildTimes
    readings: tuple[Reading, ...]

    def to_json(self) -> dict[str, object]:
        """As `ups bench cache --json` prints it."""
        return {
            "trajectories": self.trajectories,
            "cache_bytes": self.cache_bytes,
            "pairs": self.pairs,
            "device": self.device,
            "open_seconds": self.open_seconds,
            "build": {"bound_by": self.times.bound_by, "time_shares": self.times.shares},
            "readings": [reading.to_json() for reading in self.readings],
        }


def bench_cache(
    folder: Path,
    device: torch.device,
    *,
    size: int,
    pairs: int,
    dtype: CacheDtype = "float32",
    doing: Callable[[str], None] = lambda what: None,
) -> CacheBench:
    """Measure; takes about `size` bytes twice on the disk, three times in RAM, and twice on the GPU.

    Args:
        folder: on the disk that is meant, made where missing; what is put there is removed again.
        device: encodes and gets the batches.
        size: bytes of the cache in float32.
        pairs: of a batch on the host.
        dtype: number format of the cache.
        doing: told what is measured next.

    Raises:
        RunError: the disk is full or refuses a write.
        CacheError: there is too little space or memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder) as place:
        samples = max(size // (FRAMES * (POINTS // PATCH) * DIM * 4), _SOURCES)
        target = _target(Path(place), device, samples, dtype)
        doing(f"building a cache of {samples} trajectories")
        reading, times = _build(target)
        readings = [reading]
        doing("reading its files in order, cold and warm")
        readings += _open(target)
        begin = time.perf_counter()
        open_latents(target, "disk", device).close()
        opening = time.perf_counter() - begin
        doing(f"reading random batches of {pairs} pairs")
        readings += _batches(target, device, pairs)
        stored = samples * target.layout.chunk_bytes
        return CacheBench(samples, stored, pairs, str(device), opening, times, tuple(readings))


def _target(folder: Path, device: torch.device, samples: int, dtype: CacheDtype) -> CacheTarget:
    grid = TokenGrid((POINTS,), PATCH, (True,))
    encoder = GridEncoder(grid, 1, DIM, _ENCODER).to(device).eval().requires_grad_(False)
    fields = np.random.default_rng(0).standard_normal((_SOURCES, FRAMES, POINTS, 1), dtype=np.float32)

    def read(rows: NDArray[np.int64], frames: NDArray[np.int64]) -> Values:
        return fields[np.ix_(rows % _SOURCES, frames)]

    def encode(part: Values) -> torch.Tensor:
        latents: torch.Tensor = encoder(torch.from_numpy(part).to(device, torch.float32).flatten(0, 1))
        return latents.unflatten(0, part.shape[:2])

    stamp = Fingerprint("0" * 64, {})
    return CacheTarget(
        member="bench",
        split="bench",
        path=store_path(folder, "bench", "train", stamp.digest),
        fingerprint=stamp,
        rows=np.arange(samples, dtype=np.int64),
        shape=(FRAMES, grid.count, DIM),
        dtype=dtype,
        frame_bytes=fields[0, 0].nbytes,
        read=read,
        encode=encode,
    )


def _build(target: CacheTarget) -> tuple[Reading, BuildTimes]:
    """The build, beside each of its parts on its own: source, encoder, files; and what it waited for."""
    layout, frames = target.layout, np.arange(target.layout.frames)
    block = layout.block(target.frame_bytes).rows
    target.encode(target.read(target.rows[:block], frames))  # starts CUDA, chooses kernels
    begin = time.perf_counter()
    times = build_target(target).times
    whole = time.perf_counter() - begin
    copy = LatentStore(target.path.with_suffix(".copy"), layout)
    (copy.path / ARRAY).mkdir(parents=True)
    seconds = {"source": 0.0, "encoder": 0.0, "files": 0.0}
    for first in range(0, layout.samples, block):
        marks = [time.perf_counter()]
        fields = target.read(target.rows[first : first + block], frames)
        marks.append(time.perf_counter())
        packed = pack(target.encode(fields), target.dtype)
        marks.append(time.perf_counter())
        for row, numbers in enumerate(packed, start=first):
            copy.write(row, numbers)
        marks.append(time.perf_counter())
        for name, start, end in zip(seconds, marks[:-1], marks[1:], strict=True):
            seconds[name] += end - start
    size = layout.samples * layout.row_bytes
    ceilings = {f"{name} alone": size / taken for name, taken in seconds.items()}
    return Reading("build", size / whole, ceilings), times


def _open(target: CacheTarget) -> list[Reading]:
    """Opening as `ram`, which reads and verifies every file, beside a mere reading of them."""
    store, layout = LatentStore(target.path, target.layout), target.layout
    paths = [store.chunk(row) for row in range(layout.samples)]
    buffer = bytearray(layout.chunk_bytes)

    def plainly() -> None:
        for path in paths:
            with path.open("rb", buffering=0) as file:
                file.readinto(buffer)

    times: dict[str, dict[str, list[float]]] = {"cold": {}, "warm": {}}
    for _ in range(3):
        for name, work in (("plain", plainly), ("ram", lambda: open_latents(target, "ram", _CPU).close())):
            _forget(paths)
            for state in times:
                begin = time.perf_counter()
                work()
                times[state].setdefault(name, []).append(time.perf_counter() - begin)
    readings, size = [], layout.samples * layout.chunk_bytes
    for state, taken in times.items():
        plain, ram = (size / statistics.median(taken[name]) for name in ("plain", "ram"))
        name = f"sequential file read, {state}"
        readings += [Reading(name, plain, {}), Reading(f"open as ram, {state}", ram, {name: plain})]
    return readings


def _batches(target: CacheTarget, device: torch.device, pairs: int) -> list[Reading]:
    layout = target.layout
    ram, disk = open_latents(target, "ram", _CPU), open_latents(target, "disk", _CPU)
    _touch(disk)
    readings = host_rates(layout, pairs, ram, disk)
    ram.close()
    disk.close()
    if device.type == "cuda":
        gpu = open_latents(target, "gpu", device)
        readings += device_rates(layout, gpu)
        gpu.close()
        ram, disk = open_latents(target, "ram", device), open_latents(target, "disk", device)
        _touch(disk)
        readings += delivery_rates(layout, pairs, ram, disk)
        ram.close()
        disk.close()
    return readings


def _touch(reader: LatentReader) -> None:
    """Have every file verified and mapped, which training does once."""
    for row in range(reader.layout.samples):
        reader.gather(np.array([row]), np.array([0]), reader.layout.frames - 1)


def _forget(paths: Sequence[Path]) -> None:
    """Have the kernel drop files from its page cache, as far as it lets itself be told."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # pages that are not on the disk yet cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
