"""One file per screen: its actions, what it is made of, and what it does. `registry` finds them by the names here."""

from typing import Literal, get_args

ScreenName = Literal["runs", "launch", "dashboard", "cache", "results", "settings", "log"]
SCREENS: tuple[ScreenName, ...] = get_args(ScreenName)
"""All screens in the order of their digits; the class `CacheScreen` of the module `cache` is the screen `cache`."""
