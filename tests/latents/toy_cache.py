"""A small cache with a real, if tiny, encoder.

Run as a script with a folder, a number of trajectories and `build` or `train` it builds that cache, or completes it on
the fly in random order: the process that tests kill.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.latents.building.completion import build_target
from ups_engine.latents.fingerprint import fingerprint, hash_tensors
from ups_engine.latents.layout import BLOCK_BYTES, CacheDtype
from ups_engine.latents.location import store_path
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.target import CacheTarget

POINTS, FRAMES, TOKENS, DIM = 24, 5, 6, 4


def toy_weights(seed: int) -> torch.Tensor:
    return torch.randn(POINTS // TOKENS, DIM, generator=torch.Generator().manual_seed(seed))


def toy_fields(rows: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, t, POINTS, 1): a wave of its own for each trajectory."""
    x = np.arange(POINTS) / POINTS
    phase = 0.7 * rows[:, None, None] + 0.3 * frames[None, :, None]
    return np.sin(2 * np.pi * x + phase).astype(np.float32)[..., None]


def toy_target(
    folder: Path,
    *,
    samples: int = 10,
    dtype: CacheDtype = "float32",
    seed: int = 0,
    rows_in_block: int = 3,
    member: str = "toy",
    split: str = "train",
    frames: int = FRAMES,
) -> CacheTarget:
    weights = toy_weights(seed)
    rows = np.arange(samples, dtype=np.int64) * 2 + 1
    print_of = fingerprint(
        rows,
        {
            "encoder": hash_tensors({"weights": weights}),
            "source": {"files": ["toy"], "stamp": "0"},
            "fields": ["u"],
            "split": split,
            "normalisation": {"mean": [0.0], "std": [1.0]},
            "strides": {"space": 1, "time": 1},
            "frames": frames,
            "patch_size": POINTS // TOKENS,
            "tokens": TOKENS,
            "dim": DIM,
            "dtype": dtype,
        },
    )

    def encode(fields: NDArray[np.float32]) -> torch.Tensor:
        patches = torch.from_numpy(fields).view(*fields.shape[:2], TOKENS, POINTS // TOKENS)
        return torch.tanh(patches @ weights)

    return CacheTarget(
        member=member,
        split=split,
        path=store_path(folder, member, split, print_of.digest),
        fingerprint=print_of,
        rows=rows,
        shape=(frames, TOKENS, DIM),
        dtype=dtype,
        frame_bytes=BLOCK_BYTES // (frames * rows_in_block),
        read=toy_fields,
        encode=encode,
        conditions={"nu": np.full(samples, 0.01)},
    )


def toy_latents(target: CacheTarget) -> torch.Tensor:
    """What the cache should give in training: (N, FRAMES, TOKENS, DIM), float32, after rounding to its format."""
    latents = target.encode(target.read(target.rows, np.arange(FRAMES, dtype=np.int64)))
    return latents.to(getattr(torch, target.dtype)).to(torch.float32)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def work(folder: Path, samples: int, kind: str) -> None:
    """Build a cache, or complete it on the fly."""
    wanted = toy_target(folder, samples=samples, rows_in_block=2)
    if kind == "build":
        build_target(wanted)
    else:
        reader = open_latents(wanted, "ram", torch.device("cpu"))
        for some in torch.randperm(len(wanted.rows)).split(8):
            reader.gather(some, torch.zeros_like(some), FRAMES - 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("ready", flush=True)
    sys.stdin.readline()  # so that several builders start together, and imports are not what a kill hits
    work(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    print("done", flush=True)
