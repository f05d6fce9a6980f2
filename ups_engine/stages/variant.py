"""A way to predict: the operator alone, or with a corrector."""

from collections.abc import Callable
from dataclasses import dataclass

from ups_engine.config.schema import Settings


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to predict.

    Attributes:
        name: in reports.
        corrector: the result that adds what the operator misses; None for the operator alone.
        steps: network evaluations of a correction.
    """

    name: str
    corrector: str | None = None
    steps: Callable[[Settings], int] = lambda settings: 0
