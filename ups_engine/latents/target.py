"""What a latent cache should hold and where that comes from; build, check and training share this description."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ups_engine.discretisation.arrays import Values
from ups_engine.latents.fingerprint import Fingerprint
from ups_engine.latents.layout import CacheDtype, Layout

Choice: TypeAlias = Literal["gpu", "ram", "disk"]
"""Where latents live while training."""
Wanted: TypeAlias = Literal["auto", "gpu", "ram", "disk", "on_the_fly"]
"""The setting `latent.residency`."""
CacheKey: TypeAlias = tuple[str, str]
"""Member of the collection, and split."""


@dataclass(frozen=True)
class CacheTarget:
    """The latents of one split of one member of the data.

    Attributes:
        member: name of the member, in the store's name.
        split: name of the split.
        path: the store's folder, see `location.store_path`.
        fingerprint: what the latents depend on.
        rows: trajectories of the source, (N,); position i of the store holds `rows[i]`.
        shape: (frames, tokens, dim) of one trajectory.
        dtype: number format of the store.
        frame_bytes: bytes of one frame of fields as `read` returns it; decides how much is encoded at a time.
        read: trajectories of the source (n,) and frames (t,) -> fields (n, t, *space, channels), as
            `FieldDataset.read`.
        encode: what `read` returned -> latents (n, t, tokens, dim) on any device. Frames must not mix.
        conditions: PDE parameters by name, each (N,).
        vouch: raises DataError where the source is no longer what the fingerprint says; asked before anything encoded
            is recorded.
    """

    member: str
    split: str
    path: Path
    fingerprint: Fingerprint
    rows: NDArray[np.int64]
    shape: tuple[int, int, int]
    dtype: CacheDtype
    frame_bytes: int
    read: Callable[[NDArray[np.int64], NDArray[np.int64]], Values]
    encode: Callable[[Values], torch.Tensor]
    conditions: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    vouch: Callable[[], None] = lambda: None

    @property
    def key(self) -> CacheKey:
        """By which the cache is asked for."""
        return self.member, self.split

    @property
    def layout(self) -> Layout:
        """Shape and number format of the store."""
        return Layout(len(self.rows), *self.shape, self.dtype)


@dataclass(frozen=True)
class CacheContext:
    """The caches that a run or the current settings need.

    Attributes:
        targets: one per split, in the order train, val, test.
        note: a sentence that says which encoder is meant.
        device: where training would run, `cpu` or `cuda:N`.
        residency: the setting `latent.residency`.
        working_bytes: GPU memory that training wants beside the latents; 0 on the CPU.
    """

    targets: tuple[CacheTarget, ...]
    note: str
    device: str
    residency: Wanted
    working_bytes: int = 0
