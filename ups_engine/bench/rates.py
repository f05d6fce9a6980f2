"""Rates of random batches, beside those of plain gathers and copies of the same bytes.

Everything that is compared takes turns in one loop, since on a shared machine only such ratios mean anything.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.latents.layout import Layout
from ups_engine.latents.reading.readers import LatentReader

ROUNDS = 7
_SECONDS = 0.1  # that a work is repeated for in each round
_BATCHES = 16  # different batches in turn
_GPU_BATCH = 256 << 20  # bytes; small batches would measure how fast kernels are launched

Work = Callable[[int], object]
"""Moves one batch; told a running number."""


@dataclass(frozen=True)
class Reading:
    """A rate beside the machine's own.

    Attributes:
        name: what was measured.
        rate: bytes a second: of files where files are read or written, else of float32 latents.
        ceilings: bytes a second of what it cannot be faster than, by name; none for what is itself one.
    """

    name: str
    rate: float
    ceilings: Mapping[str, float]

    @property
    def bound(self) -> str | None:
        """The lowest ceiling's name."""
        return min(self.ceilings, key=self.ceilings.__getitem__, default=None)

    @property
    def share(self) -> float | None:
        """Share of the lowest ceiling that is reached."""
        return None if self.bound is None else self.rate / self.ceilings[self.bound]

    def to_json(self) -> dict[str, object]:
        """As `ups bench cache --json` prints it."""
        record: dict[str, object] = {"name": self.name, "bytes_per_second": self.rate}
        return record | {"bound": self.bound, "share": self.share, "ceilings": dict(self.ceilings)}


def host_rates(layout: Layout, pairs: int, ram: LatentReader, disk: LatentReader) -> list[Reading]:
    """Batches of `pairs` pairs for the CPU; every file of `disk` must have been read before."""
    size, batches = _batch_bytes(layout, pairs), _batches(layout, pairs)
    works = _plain_gathers(layout, batches)
    works |= {"ram": _gathers(ram, batches), "disk": _gathers(disk, batches)}
    rates = {name: size / seconds for name, seconds in _medians(works, ram.device).items()}
    gather = {"plain gather": max(rates["take"], rates["index_select"])}
    return [
        Reading("memcpy", rates["memcpy"], {}),
        Reading("plain gather", gather["plain gather"], {}),
        Reading("ram", rates["ram"], gather),
        Reading("disk, warm", rates["disk"], gather),
    ]


def device_rates(layout: Layout, gpu: LatentReader) -> list[Reading]:
    """Large batches of what lives on the GPU."""
    pairs = max(min(_GPU_BATCH, layout.memory_bytes // 4) // _batch_bytes(layout, 1), 1)
    batches = [
        (torch.from_numpy(r).to(gpu.device), torch.from_numpy(f).to(gpu.device)) for r, f in _batches(layout, pairs)
    ]
    numbers = _batch_bytes(layout, pairs) // 4
    flat = torch.randn(layout.memory_bytes // 4, device=gpu.device)

    def copy(turn: int) -> torch.Tensor:
        first = turn * numbers % (len(flat) - numbers)
        return flat[first : first + numbers].clone()

    works: dict[str, Work] = {"copy": copy, "gpu": lambda turn: gpu.gather(*batches[turn % _BATCHES], 1)}
    rates = {name: 4 * numbers / seconds for name, seconds in _medians(works, gpu.device).items()}
    ceiling = {"device-to-device copy": rates["copy"]}
    return [Reading("device-to-device copy", rates["copy"], {}), Reading("gpu", rates["gpu"], ceiling)]


def delivery_rates(layout: Layout, pairs: int, ram: LatentReader, disk: LatentReader) -> list[Reading]:
    """Batches prefetched on the host and copied to the GPU; their ceilings are those two parts."""
    size, batches = _batch_bytes(layout, pairs), _batches(layout, pairs)
    device, locked = ram.device, torch.empty(size // 4, pin_memory=True)
    works = _plain_gathers(layout, batches) | {
        "copy": lambda turn: locked.to(device, non_blocking=True),
        "ram": _prefetched(ram, batches),
        "disk": _prefetched(disk, batches),
    }
    rates = {name: size / seconds for name, seconds in _medians(works, device).items()}
    gather, copy = max(rates["take"], rates["index_select"]), rates["copy"]
    ceilings = {"plain gather": gather, "host-to-device copy": copy}
    return [
        Reading("host-to-device copy", copy, {}),
        Reading("ram to the GPU", rates["ram"], ceilings),
        Reading("disk to the GPU, warm", rates["disk"], ceilings),
    ]


Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


def _batches(layout: Layout, pairs: int) -> list[Batch]:
    """Random trajectories and first frames."""
    random = np.random.default_rng(0)
    return [
        (random.integers(0, layout.samples, pairs), random.integers(0, layout.frames - 1, pairs))
        for _ in range(_BATCHES)
    ]


def _batch_bytes(layout: Layout, pairs: int) -> int:
    return pairs * 2 * layout.frame_numbers * 4


def _gathers(reader: LatentReader, batches: list[Batch]) -> Work:
    return lambda turn: reader.gather(*batches[turn % _BATCHES], 1)


def _prefetched(reader: LatentReader, batches: list[Batch]) -> Work:
    rows, frames = (np.concatenate(part) for part in zip(*batches, strict=True))
    sequence, pairs = reader.sequence(rows, frames), len(batches[0][0])
    return lambda turn: sequence.take(turn % _BATCHES * pairs, pairs, 1)


def _plain_gathers(layout: Layout, batches: list[Batch]) -> dict[str, Work]:
    """A memcpy, and what anyone would write by hand: an ordinary array, indices and memory of the batch at hand."""
    whole = torch.ones(layout.samples * layout.frames, layout.frame_numbers)
    indices = [((rows * layout.frames + frames)[:, None] + np.arange(2)).reshape(-1) for rows, frames in batches]
    tensors, out = list(map(torch.from_numpy, indices)), torch.ones(len(indices[0]), layout.frame_numbers)
    array, room, starts = whole.numpy(), out.numpy(), max(len(whole) - len(out), 1)
    count = min(len(whole), len(out))

    def memcpy(turn: int) -> object:
        first = turn * len(out) % starts
        return out[:count].copy_(whole[first : first + count])

    return {
        "memcpy": memcpy,
        "take": lambda turn: np.take(array, indices[turn % _BATCHES], axis=0, out=room, mode="clip"),
        "index_select": lambda turn: torch.index_select(whole, 0, tensors[turn % _BATCHES], out=out),
    }


def _medians(works: Mapping[str, Work], device: torch.device) -> dict[str, float]:
    """Seconds per call of each work, the median of rounds in which all take their turn."""
    repeats = {name: max(int(_SECONDS / _seconds(work, _BATCHES, device)), 1) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(_seconds(work, repeats[name], device))
    return {name: statistics.median(taken) for name, taken in times.items()}


def _seconds(work: Work, repeats: int, device: torch.device) -> float:
    _settle(device)
    begin = time.perf_counter()
    for turn in range(repeats):
        work(turn)
    _settle(device)
    return max((time.perf_counter() - begin) / repeats, 1e-9)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
