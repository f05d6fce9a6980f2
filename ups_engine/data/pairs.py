"""Training pairs of latents: from one frame to those after it, in an order that depends on nothing but the seed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from ups_engine.data.arrays import Int64
from ups_engine.data.dataset import FieldDataset
from ups_engine.data.splits import SplitName

Index: TypeAlias = Int64 | torch.Tensor


class Sequential(Protocol):
    """Batches of an announced sequence of samples; `latents.reading.prefetching.LatentSequence` has it."""

    def take(self, first: int, count: int, horizon: int) -> torch.Tensor:
        """Samples `first` to `first + count` -> (count, 1 + horizon, tokens, dim) on the device."""


class Gatherable(Protocol):
    """What pairs need of a latent cache; `latents.reading.readers.LatentReader` has it."""

    def gather(self, rows: Index, frames: Index, horizon: int) -> torch.Tensor:
        """Rows (B,) as positions in the split, first frames (B,) -> (B, 1 + horizon, tokens, dim) on the device."""

    def sequence(self, rows: Int64, frames: Int64) -> Sequential:
        """Announce samples (n,), whose batches are prefetched where that gains anything."""


class PairIndex:
    """Numbers every pair (trajectory, start frame) that has `horizon` frames after it.

    Args:
        trajectories: (n,) numbers in the source, in the order of the split.
        frames: frames of a trajectory.
        horizon: frames predicted after the start.

    Raises:
        ValueError: a horizon that no trajectory is long enough for.
    """

    def __init__(self, trajectories: Int64, frames: int, horizon: int) -> None:
        if not 1 <= horizon < frames:
            raise ValueError(f"a horizon of {horizon} needs more than {frames} frames a trajectory")
        self.trajectories = trajectories
        self.starts = frames - horizon
        self.horizon = horizon

    def __len__(self) -> int:
        return len(self.trajectories) * self.starts

    def positions(self, pairs: Index) -> tuple[Index, Index]:
        """Positions in the split (B,) and start frames (B,) of pair numbers (B,); arrays or tensors, as given."""
        return pairs // self.starts, pairs % self.starts

    def __getitem__(self, pairs: Int64) -> tuple[Int64, Int64]:
        """Trajectories (B,) as numbered in the source, and start frames (B,), of pair numbers (B,)."""
        return self.trajectories[pairs // self.starts], pairs % self.starts


def order(n: int, *, seed: int, stage: str, epoch: int) -> Int64:
    """A permutation of n samples: a pure function of its arguments, the same in every process.

    The random words come from Philox, whose stream numpy keeps fixed, keyed by a hash of seed, stage and epoch.
    """
    key = hashlib.sha256(f"order/{seed}/{stage}/{epoch}".encode()).digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(n)
    return np.argsort(words, kind="stable")


@dataclass(frozen=True, eq=False)
class PairBatch:
    """A batch of pairs; B pairs, H the horizon."""

    z0: torch.Tensor
    """(B, tokens, dim) latents to start from."""
    future: torch.Tensor
    """(B, H, tokens, dim) latents of the frames after."""
    cond: torch.Tensor
    """(B, P) PDE parameters, standardised."""
    dt: torch.Tensor
    """(B,) time between frames."""
    trajectories: Index
    """(B,) positions in the split."""
    frames: Index
    """(B,) start frames."""
    input_fields: torch.Tensor | None = None
    """(B, *space, C) normalised fields of the frame one step after the start, where asked for."""
    coords: torch.Tensor | None = None
    """(points, d) positions of the grid points, where fields were asked for."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What is the same for all pairs: task, split, horizon, grid shape."""

    @property
    def z1(self) -> torch.Tensor:
        """(B, tokens, dim) latents one step after the start."""
        return self.future[:, 0]


class LatentPairs:
    """Pairs of a split, gathered from its latents.

    Args:
        latents: the split's cache.
        dataset: for conditioning, time step and, on request, fields.
        split: whose trajectories, in the order of `dataset.splits`, the cache's rows are.
        horizon: frames predicted after the start.
    """

    def __init__(self, latents: Gatherable, dataset: FieldDataset, split: SplitName, horizon: int) -> None:
        self.index = PairIndex(dataset.splits.of(split), dataset.frames, horizon)
        self._latents = latents
        self._dataset = dataset
        self._cond = torch.from_numpy(dataset.parameters(self.index.trajectories))  # (n, P)
        self._announced: tuple[torch.Tensor, Sequential] | None = None
        self._coords: torch.Tensor | None = None
        self._meta = {"task": dataset.task, "split": split, "horizon": horizon, "shape": dataset.grid.shape}

    def __len__(self) -> int:
        return len(self.index)

    def announce(self, pairs: torch.Tensor) -> None:
        """Say which pairs will be asked for, so that batches can be prefetched: those that are slices of `pairs`.

        Args:
            pairs: (n,) pair numbers on any device, in the order of the batches. Until the next announcement its
                memory is held, by which a slice is known without looking at its numbers, which a GPU would have
                to be waited for.
        """
        positions, frames = self.index.positions(pairs.cpu().numpy())
        assert isinstance(positions, np.ndarray) and isinstance(frames, np.ndarray)
        self._announced = pairs, self._latents.sequence(positions, frames)

    def batch(self, pairs: Index, *, horizon: int | None = None, with_fields: bool = False) -> PairBatch:
        """Gather pairs.

        Args:
            pairs: (B,) pair numbers; where they are a tensor on the latents' device, nothing is copied to it.
            horizon: frames after the start, at most the horizon of these pairs; None for that.
            with_fields: read the fields one step after the start too, for the losses that compare with them.
        """
        positions, frames = self.index.positions(pairs)
        latents = self._taken(pairs, horizon or self.index.horizon)
        if latents is None:
            latents = self._latents.gather(positions, frames, horizon or self.index.horizon)
        device = latents.device
        if self._cond.device != device:
            self._cond = self._cond.to(device)
        return PairBatch(
            z0=latents[:, 0],
            future=latents[:, 1:],
            cond=self._cond[torch.as_tensor(positions, device=device)],
            dt=torch.full((len(latents),), self._dataset.dt, device=device),
            trajectories=positions,
            frames=frames,
            input_fields=self._fields(positions, frames + 1).to(device) if with_fields else None,
            coords=self._grid_points(device) if with_fields else None,
            meta=self._meta,
        )

    def _taken(self, pairs: Index, horizon: int) -> torch.Tensor | None:
        """The latents of a slice of the announced pairs; None for any other pairs."""
        if self._announced is None or not isinstance(pairs, torch.Tensor):
            return None
        whole, sequence = self._announced
        if pairs.untyped_storage().data_ptr() != whole.untyped_storage().data_ptr() or pairs.stride() != (1,):
            return None
        first = int(pairs.storage_offset()) - int(whole.storage_offset())
        inside = first >= 0 and first + len(pairs) <= len(whole)
        return sequence.take(first, len(pairs), horizon) if inside else None

    def _fields(self, positions: Index, frames: Index) -> torch.Tensor:
        rows, when = (np.asarray(torch.as_tensor(index).cpu()) for index in (positions, frames))
        values = self._dataset.read(self.index.trajectories[rows], when[:, None])[:, 0]
        return torch.from_numpy(self._dataset.normalisation.apply(values))

    def _grid_points(self, device: torch.device) -> torch.Tensor:
        if self._coords is None or self._coords.device != device:
            axes = np.meshgrid(*self._dataset.grid.coordinates, indexing="ij")
            points = np.stack([axis.ravel() for axis in axes], axis=1).astype(np.float32)
            self._coords = torch.from_numpy(points).to(device)
        return self._coords
