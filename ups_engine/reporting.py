"""What slow work calls to say how far it is. Whoever is called may raise to stop the work, or take its time."""

from collections.abc import Callable
from typing import TypeAlias

Advance: TypeAlias = Callable[[str, int, int], None]
"""Told (what, done, total) of work that takes a while."""
Count: TypeAlias = Callable[[int, int], None]
"""Told (done, total) where what is counted goes without saying."""
Tell: TypeAlias = Callable[[str], None]
"""Told a sentence for the user."""
