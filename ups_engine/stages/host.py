"""Whom a stage works for."""

from collections.abc import Mapping


class Host:
    """Is told what a stage does, and may hold it up. This one listens to nothing and lets everything go on.

    Each method may be called from slow work of any kind; `advance` and `between` may wait, or raise to stop the work.
    """

    def tell(self, sentence: str) -> None:
        """Something the user should read."""

    def warn(self, sentence: str) -> None:
        """Damage that was mended, or something that is not as it should be."""

    def advance(self, what: str, done: int, total: int) -> None:
        """How far slow work is."""

    def between(self) -> None:
        """Here slow work may be held up or broken off."""

    def caches(self, facts: Mapping[str, object]) -> None:
        """What is known of the latent caches; see heartbeats on the page of `ups_engine.runs.events`."""
