"""Training pairs of latents: from one frame to those after it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ups_engine.data.member import Member
from ups_engine.data.splits import SplitName
from ups_engine.discretisation.arrays import Int64
from ups_engine.latents.reading.prefetching import LatentSequence
from ups_engine.latents.reading.readers import LatentReader


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

    def positions(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in the split (B,) and start frames (B,) of pair numbers (B,)."""
        return pairs // self.starts, pairs % self.starts

    def describe(self, pairs: Tensor) -> str:
        """Name the first pairs of some."""
        rows, frames = (part.cpu().numpy() for part in self.positions(pairs[:8]))
        named = zip(self.trajectories[rows], frames, strict=True)
        return ", ".join(f"trajectory {trajectory} frame {frame}" for trajectory, frame in named)


@dataclass(frozen=True, eq=False)
class PairBatch:
    """A batch of pairs; B pairs, H the horizon."""

    z0: Tensor
    """(B, tokens, dim) latents to start from."""
    future: Tensor
    """(B, H, tokens, dim) latents of the frames after."""
    cond: Tensor
    """(B, P) PDE parameters, standardised."""
    dt: Tensor
    """(B,) time between frames."""
    rows: Tensor
    """(B,) positions in the split."""
    frames: Tensor
    """(B,) start frames."""

    @property
    def z1(self) -> Tensor:
        """(B, tokens, dim) latents one step after the start."""
        return self.future[:, 0]


class LatentPairs:
    """Pairs of a split, gathered from its latents.

    Args:
        latents: of the split's cache.
        member: for conditioning and time step.
        split: whose trajectories, in the order of `member.splits`, the cache's rows are.
        horizon: frames predicted after the start.
        device: where the cache's batches are.
    """

    def __init__(
        self, latents: LatentReader, member: Member, split: SplitName, horizon: int, device: torch.device
    ) -> None:
        self.index = PairIndex(member.splits.of(split), member.frames, horizon)
        self._latents, self._dt = latents, member.dt
        self._cond = torch.from_numpy(member.parameters(self.index.trajectories)).to(device)  # (n, P)
        self._rows = self._frames = torch.empty(0, dtype=torch.int64, device=device)
        self._sequence: LatentSequence | None = None

    def __len__(self) -> int:
        return len(self.index)

    def announce(self, pairs: Tensor) -> None:
        """Say which pairs will be taken, in this order, so that batches can be made ahead.

        Args:
            pairs: (n,) pair numbers on the device.
        """
        self._rows, self._frames = self.index.positions(pairs)
        self._sequence = self._latents.sequence(self._rows.cpu().numpy(), self._frames.cpu().numpy())

    def take(self, first: int, count: int, horizon: int | None = None) -> PairBatch:
        """The announced pairs `first` to `first + count`; nothing is copied to a GPU that holds the latents.

        Args:
            first: place among them.
            count: pairs.
            horizon: frames after the start, at most the horizon of these pairs; None for that.
        """
        assert self._sequence is not None, "no pairs were announced"
        part = slice(first, first + count)
        latents = self._sequence.take(first, count, horizon or self.index.horizon)
        return self._batch(latents, self._rows[part], self._frames[part])

    def at(self, pairs: Tensor) -> PairBatch:
        """Any pairs, by their numbers (B,) on the device."""
        rows, frames = self.index.positions(pairs)
        return self._batch(self._latents.gather(rows, frames, self.index.horizon), rows, frames)

    def _batch(self, latents: Tensor, rows: Tensor, frames: Tensor) -> PairBatch:
        dt = torch.full((len(latents),), self._dt, device=latents.device)
        return PairBatch(latents[:, 0], latents[:, 1:], self._cond[rows], dt, rows, frames)
