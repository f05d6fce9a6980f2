"""What a build spent its time on, and so what would have to be faster for it to be."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from time import monotonic


@dataclass
class BuildTimes:
    """Seconds of a build in the thread that encodes; reading and writing go on beside it in threads of their own.

    Attributes:
        source: spent waiting for fields to encode.
        encoding: spent encoding, the copies to and from the device included.
        disk: spent waiting for chunks to be written, and recording them.
        others: spent waiting for blocks that other builders hold.
    """

    source: float = 0.0
    encoding: float = 0.0
    disk: float = 0.0
    others: float = 0.0

    @contextmanager
    def count(self, what: str) -> Iterator[None]:
        """Add the block's time to one of the attributes."""
        begin = monotonic()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + monotonic() - begin)

    @property
    def shares(self) -> dict[str, float]:
        """What share of their sum each took; all zero where nothing was done."""
        seconds = {part.name: float(getattr(self, part.name)) for part in fields(self)}
        return {name: value / (sum(seconds.values()) or 1.0) for name, value in seconds.items()}

    @property
    def bound_by(self) -> str:
        """What took most: `source`, `encoding`, `disk` or `others`."""
        shares = self.shares
        return max(shares, key=lambda name: shares[name])

    def sentence(self) -> str:
        """What bounded the build, a clause without final stop."""
        names = {"source": "reading the source", "encoding": "the encoder", "disk": "the disk", "others": "others"}
        shares = self.shares
        named = ", ".join(f"{names[name]} {share:.0%}" for name, share in shares.items() if name != "others" or share)
        return f"bound by {names[self.bound_by]} ({named} of the time)"
