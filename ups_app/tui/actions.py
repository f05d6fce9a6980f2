"""The one table of actions. Key bindings, footer, command palette and help are all made from it."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from textual.binding import Binding
from textual.keys import format_key

from ups_engine.errors import SettingsError

SCREENS = ("runs", "launch", "dashboard", "cache", "results", "settings", "log")
"""All main screens in the order of their digits."""


@dataclass(frozen=True)
class Action:
    """Something a user can do by a key, the palette or the mouse.

    A screen that is named in `screens` has a method `action_<id>`; one for all screens is the application's.
    """

    id: str
    """Also what `tui.keys` calls it."""
    key: str
    """As Textual names it; several with commas between."""
    label: str
    """In the footer; empty keeps it out of there."""
    text: str
    """In the help and the palette."""
    screens: tuple[str, ...] = ()
    """Names of the screens that have it; none means all."""
    changes: bool = False
    """Changes a run, a cache or a file: hidden and refused with --read-only."""
    loses: str | None = None
    """What is lost; asked before it is done. `{run}` and `{stage}` are filled in."""

    @property
    def call(self) -> str:
        """The action as Textual writes it."""
        return f"go('{self.id.removeprefix('go_')}')" if self.id.startswith("go_") else self.id

    @property
    def group(self) -> str:
        """The heading in the help."""
        if len(self.screens) == 1:
            return self.screens[0]
        return "run" if self.changes else "everywhere"


_ON_RUNS = ("runs", "dashboard")

ACTIONS: tuple[Action, ...] = (
    # on a run
    Action("open", "enter", "open", "open the dashboard of the highlighted run", ("runs",)),
    Action(
        "start", "enter", "start", "start the highlighted stage, or resume a run that is down", ("dashboard",), True
    ),
    Action("pause", "p", "pause", "pause the run, or go on after a pause", _ON_RUNS, True),
    Action(
        "skip",
        "s",
        "skip",
        "leave out the highlighted stage",
        _ON_RUNS,
        True,
        "Skip {stage} while it is running? What it has trained is lost.",
    ),
    Action(
        "finish",
        "f",
        "finish",
        "end the running stage now, with its best weights",
        _ON_RUNS,
        True,
        "Finish {stage} now? Its best weights are kept, its remaining epochs are not trained.",
    ),
    Action("park", "k", "park", "save, free the GPU and leave; resume goes on later", _ON_RUNS, True),
    Action("stop", "x", "stop", "save and stop the run; resume goes on later", _ON_RUNS, True),
    Action("resume", "r", "resume", "go on with a run that is parked, stopped, failed or lost", _ON_RUNS, True),
    Action("remove", "delete", "remove", "delete the highlighted run for good", ("runs",), True),
    # on single screens
    Action("stage_before", "left,up,left_square_bracket", "", "highlight the stage before", ("dashboard",)),
    Action(
        "stage_after",
        "right,down,right_square_bracket",
        "stage",
        "highlight the next stage; its curves are shown",
        ("dashboard",),
    ),
    Action("curve", "c", "curve", "turn between loss, its parts, learning rate, gradient, speed", ("dashboard",)),
    Action("plot", "c", "fields", "turn between errors and fields, where only one of them has room", ("results",)),
    Action("trajectory", "t", "trajectory", "show the next trajectory", ("results",)),
    Action("field", "v", "field", "show the next field", ("results",)),
    Action("frame_before", "left,left_square_bracket", "", "go back a frame", ("results",)),
    Action("frame_after", "right,right_square_bracket", "frame", "go on to the next frame", ("results",)),
    Action("check", "c", "check", "check data, disk, memory and GPU for these settings", ("launch",)),
    Action("launch", "ctrl+r", "start run", "start the run", ("launch",), True),
    Action("preset", "p", "preset", "choose a preset", ("launch",)),
    Action("edit", "e", "edit", "change the highlighted setting, or any KEY=VALUE", ("launch",)),
    Action("undo", "delete", "undo", "take the change of the highlighted setting back", ("launch",)),
    Action("refresh", "c", "check", "check the cache", ("cache",)),
    Action("deep", "d", "deep check", "check the cache and read every checksum", ("cache",)),
    Action("build", "b", "build", "encode what is missing in the cache", ("cache",), True),
    Action("repair", "r", "repair", "read every checksum and encode again what is damaged", ("cache",), True),
    Action("cancel", "escape", "cancel", "end the check or the build under way; a build goes on later", ("cache",)),
    Action("source", "t", "log/events", "turn between log.txt and events", ("log",)),
    Action("follow", "f", "follow", "stay at the end as it grows, or stop doing so", ("log",)),
    Action("filter", "slash", "filter", "show only lines that hold a text", ("launch", "settings", "log")),
    # everywhere
    *(Action(f"go_{name}", str(digit), "", f"go to {name}") for digit, name in enumerate(SCREENS, start=1)),
    Action("copy", "y", "copy", "copy the highlighted value"),
    Action("picture", "ctrl+s", "", "save a picture of this screen as SVG"),
    Action("palette", "ctrl+p", "palette", "find an action by its name"),
    Action("help", "question_mark", "help", "show every key"),
    Action("quit", "q", "quit", "leave; the run goes on"),
)


def actions_of(screen: str) -> Iterator[Action]:
    """The actions of one screen alone, those for all screens left out."""
    return (action for action in ACTIONS if screen in action.screens)


def common_actions() -> Iterator[Action]:
    """The actions that every screen has."""
    return (action for action in ACTIONS if not action.screens)


def bindings(actions: Iterable[Action]) -> list[Binding]:
    """Key bindings; each has the action's id, so that `tui.keys` can move it."""
    return [Binding(action.key, action.call, action.text, show=False, id=action.id) for action in actions]


def named(identity: str) -> Action:
    """Give the action with an id.

    Raises:
        KeyError: there is none.
    """
    return _BY_ID[identity]


def keymap(keys: Iterable[str]) -> dict[str, str]:
    """Read the setting `tui.keys`.

    Args:
        keys: `action=key` each; several keys have commas between.

    Returns:
        Keys by action id.

    Raises:
        SettingsError: an entry is malformed, names no action, or takes a key that another action of a screen has.
    """
    chosen: dict[str, str] = {}
    for entry in keys:
        identity, equals, key = (part.strip() for part in entry.partition("="))
        if not equals or not key:
            raise SettingsError(f"tui.keys: {entry!r} is not action=key", 'write for example "pause=space"')
        if identity not in _BY_ID:
            near = difflib.get_close_matches(identity, _BY_ID, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"tui.keys: there is no action {identity!r}", f"the nearest is {near}; ? lists them all"
            )
        chosen[identity] = key
    _refuse_clashes(chosen)
    return chosen


def key_name(key: str) -> str:
    """A key as people write it, such as `?`, `^s`, `enter`."""
    first = key.split(",")[0].strip()
    if first.startswith("ctrl+"):
        return f"^{first.removeprefix('ctrl+')}"
    return {"delete": "del", "escape": "esc", "enter": "enter"}.get(first, format_key(first))


_BY_ID = {action.id: action for action in ACTIONS}


def _refuse_clashes(chosen: dict[str, str]) -> None:
    for screen in SCREENS:
        owners: dict[str, str] = {}
        for action in (*actions_of(screen), *common_actions()):
            for key in chosen.get(action.id, action.key).split(","):
                other = owners.setdefault(key_name(key), action.id)
                if other != action.id:
                    raise SettingsError(
                        f"tui.keys: {key.strip()} means both {other} and {action.id} on the screen {screen}",
                        "give one of them another key",
                    )
