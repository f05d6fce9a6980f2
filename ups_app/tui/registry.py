"""Which screens there are, what can be done on each, and which keys a user has moved."""

import difflib
import importlib
from collections.abc import Iterable, Mapping

from ups_app.tui.actions import COMMON, Action, key_name
from ups_app.tui.screens import SCREENS
from ups_app.tui.screens.base import UpsScreen
from ups_engine.errors import SettingsError


def screen_class(name: str) -> type[UpsScreen]:
    """The class of a screen, imported when it is asked for the first time."""
    return getattr(importlib.import_module(f"ups_app.tui.screens.{name}"), f"{name.capitalize()}Screen")


def make_screen(name: str) -> UpsScreen:
    """A new screen."""
    return screen_class(name)()


def all_actions() -> dict[str, tuple[Action, ...]]:
    """The actions of every screen by its name, those that all screens have left out; imports all screens."""
    return {name: screen_class(name).ACTIONS for name in SCREENS}


def keymap(entries: Iterable[str]) -> dict[str, str]:
    """Read the setting `tui.keys`.

    Args:
        entries: `action=key` each; several keys have commas between.

    Returns:
        Keys by action id.

    Raises:
        SettingsError: an entry is malformed, names no action, or takes a key that another action of a screen has.
    """
    entries = tuple(entries)
    if not entries:
        return {}
    actions = all_actions()
    known = dict.fromkeys(action.id for some in (*actions.values(), COMMON) for action in some)
    chosen: dict[str, str] = {}
    for entry in entries:
        identity, equals, key = (part.strip() for part in entry.partition("="))
        if not equals or not key:
            raise SettingsError(f"tui.keys: {entry!r} is not action=key", 'write for example "pause=space"')
        if identity not in known:
            near = difflib.get_close_matches(identity, known, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"tui.keys: there is no action {identity!r}", f"the nearest is {near}; ? lists them all"
            )
        chosen[identity] = key
    _refuse_clashes(actions, chosen)
    return chosen


def _refuse_clashes(actions: Mapping[str, tuple[Action, ...]], chosen: Mapping[str, str]) -> None:
    for screen, own in actions.items():
        owners: dict[str, str] = {}
        for action in (*own, *COMMON):
            for key in chosen.get(action.id, action.key).split(","):
                other = owners.setdefault(key_name(key), action.id)
                if other != action.id:
                    raise SettingsError(
                        f"tui.keys: {key.strip()} means both {other} and {action.id} on the screen {screen}",
                        "give one of them another key",
                    )
