"""What a source lacks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gap:
    """Values that files promise and do not hold.

    Attributes:
        trajectories: that lack some or all of their values.
        reason: what is absent, in words, with its count.
        files: that would have to be there or be whole, where they are others than the one opened.
    """

    trajectories: frozenset[int]
    reason: str
    files: tuple[str, ...] = ()
