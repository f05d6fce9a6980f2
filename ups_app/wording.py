"""Times, figures and events in words, as commands and screens write them."""

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ups_engine.runs.directory import RunDirectory
    from ups_engine.runs.event_file import Event

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def moment(when: float) -> str:
    """A date and time of day without the year, `Nov 22 14:03`."""
    return time.strftime("%b %d %H:%M", time.localtime(when))


def figure(value: float | None, digits: int = 3) -> str:
    """A number to so many significant figures, a dash for none."""
    return "-" if value is None else f"{value:.{digits}g}"


def words(command: str, stage: str | None = None) -> str:
    """A command to a run as one says it, `skip stage operator`."""
    return " ".join(filter(None, (command.replace("_", " "), stage)))


def place(path: Path) -> str:
    """A path as short as it can be said: from the working folder, from the home folder, or whole."""
    for start, sign in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(start):
            return f"{sign}{path.relative_to(start)}"
    return str(path)


def short_reference(run: "RunDirectory", root: Path) -> str:
    """What a user types for a run: its name where that finds it among the runs under `root`, else its folder."""
    return run.name if run.path == (root / run.name).absolute() else str(run.path)


def event_line(event: "Event", when: str = "%H:%M:%S") -> str:
    """An event on one line: when, its time written as `strftime` would; what; where; and its data."""
    place = " ".join(
        f"{word} {value}" if word else str(value)
        for word, value in (("", event.stage), ("epoch", event.epoch), ("step", event.step))
        if value is not None
    )
    data = " ".join(f"{key}={_brief(value)}" for key, value in event.data.items())
    moment = time.strftime(when, time.localtime(event.time))
    return "  ".join(part for part in (moment, f"{event.kind:<14}", place, data) if part).rstrip()


def printable(line: str) -> str:
    """A line of a log as a terminal would have left it: after its last carriage return, without control codes."""
    last = _CONTROL.sub("", line).rstrip("\r").rpartition("\r")[2].expandtabs(8)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in last)


def _brief(value: object) -> str:
    if isinstance(value, float):
        return figure(value, 4)
    return value if isinstance(value, str) else json.dumps(value)
