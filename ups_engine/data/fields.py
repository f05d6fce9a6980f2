"""Normalised fields for training, where latents may live too: on the GPU where they fit, else in RAM or on disk."""

import torch
from torch import Tensor

from ups_engine.data.member import Member
from ups_engine.data.splits import SplitName
from ups_engine.discretisation.arrays import Values

_PIECE_BYTES = 64 << 20


class TrainingFields:
    """Frames of a split's trajectories in any order.

    Args:
        member: of the collection.
        split: whose trajectories are meant.
        device: where batches go.
        room: bytes that the fields may take on a GPU. Where all of them would take more, every batch is read on the
            host, from RAM or from the file, and copied.
    """

    def __init__(self, member: Member, split: SplitName, device: torch.device, room: int = 0) -> None:
        self._member, self._rows, self._device = member, member.splits.of(split), device
        self._resident: Tensor | None = None
        frame_bytes = 4 * member.discretisation.points * member.channels  # normalised, float32
        if device.type == "cuda" and len(self._rows) * member.frames * frame_bytes <= room:
            piece = max(1, _PIECE_BYTES // (member.frames * frame_bytes))
            starts = range(0, len(self._rows), piece)
            self._resident = torch.cat([self._normalised(member.read(self._rows[i : i + piece])) for i in starts])

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, rows: Tensor, frames: Tensor) -> Tensor:
        """Normalised fields (B, *space, C) on the device.

        Args:
            rows: (B,) positions in the split.
            frames: (B,) frames.

        Raises:
            DataError: unreadable or non-finite there.
        """
        if self._resident is not None:
            return self._resident[rows, frames]
        trajectories = self._rows[rows.cpu().numpy()]
        return self._normalised(self._member.read(trajectories, frames.cpu().numpy()[:, None])[:, 0])

    def trajectory(self, row: int) -> Tensor:
        """All frames (T, *space, C) of the trajectory at a position in the split, normalised, on the device."""
        if self._resident is not None:
            return self._resident[row]
        return self._normalised(self._member.read(self._rows[row : row + 1])[0])

    def describe(self, rows: Tensor) -> str:
        """Name trajectories by their positions in the split."""
        trajectories = self._rows[rows.cpu().numpy()]
        return f"trajectories {', '.join(map(str, trajectories[:8].tolist()))}" + (" ..." if len(rows) > 8 else "")

    def _normalised(self, fields: Values) -> Tensor:
        return self._member.normalisation.apply(torch.from_numpy(fields).to(self._device))
