"""The events file as its readers see it: whole lines, from either end, while somebody else is writing it.

What is new costs the same however long the file is, and a reader that comes late jumps over most of the steps.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ups_engine.errors import RunError
from ups_engine.formats import FormatError, require_known

FREQUENT_KINDS: tuple[str, ...] = ("step", "heartbeat")
"""Kinds that come by the thousand, are not synced to the disk one by one, and that a reader may jump over."""
FORMAT = 1
"""Version of the page of `ups_engine.runs.events`."""
FORMAT_KINDS = frozenset({"run_started", "run_resumed"})
"""Kinds that state it, for what a process writes from there on."""
READ_SIZE = 8 << 20
"""Bytes that a reader of a long file takes at a time."""
EVERY_LINE = 4 << 20
"""Bytes up to which a reader that has fallen behind still takes every step."""
SAMPLES = 10_000
"""Steps that it takes of anything longer, evenly spread over the bytes."""
_RARE = re.compile(rf'"kind": ?"(?!(?:{"|".join(FREQUENT_KINDS)})")'.encode())
_FREQUENT = tuple(f'"kind":"{kind}"'.encode() for kind in FREQUENT_KINDS)
_FIRST_BYTES = b'{"seq":'
_BLOCK = 1 << 16
_MARK = 4096


@dataclass(frozen=True)
class Event:
    """One line of the history; the fields as on the page of `ups_engine.runs.events`."""

    seq: int
    time: float
    kind: str
    stage: str | None = None
    epoch: int | None = None
    step: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def parse_event(line: bytes) -> Event | None:
    """Read one line; None when it is no event."""
    try:
        value = json.loads(line)
        event = Event(
            seq=int(value["seq"]),
            time=float(value["time"]),
            kind=str(value["kind"]),
            stage=value["stage"],
            epoch=value["epoch"],
            step=value["step"],
            data=dict(value["data"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    whole = isinstance(event.epoch, int | None) and isinstance(event.step, int | None)
    return event if whole and isinstance(event.stage, str | None) else None


def read_whole_lines(path: Path, offset: int, limit: int) -> bytes:
    """Read whole lines from an offset, about `limit` bytes but at least one line if there is a whole one.

    Returns:
        The lines with their line feeds; empty at the end of what is written, or without a file.

    Raises:
        RunError: the file cannot be read.
    """
    data = _read(path, offset, limit)
    while b"\n" not in data and (more := _read(path, offset + len(data), limit)):
        data += more
    return data[: data.rfind(b"\n") + 1]


def find_last(path: Path) -> tuple[Event | None, int]:
    """Find the last event of a file, looking from the end.

    Returns:
        The event, or None when there is none yet, and the offset behind the last whole line: what follows is torn.

    Raises:
        RunError: the file cannot be read, or holds something, but no history of a run.
    """
    size = path.stat().st_size if path.exists() else 0
    length = min(_BLOCK, size)
    while True:
        data = _read(path, size - length, length)
        whole = length == size  # else the block may begin inside a line
        end = last = data.rfind(b"\n") + 1
        while end:
            start = _line_start(data, end - 1)
            if (start or whole) and (event := parse_event(data[start:end])):
                return event, size - length + last
            end = start
        if whole:
            break
        length = min(length * 8, size)
    if last or not _FIRST_BYTES.startswith(data.rstrip(b"\0")[: len(_FIRST_BYTES)]):
        raise RunError(f"{path} is no history of a run", "move the file away; nothing was changed")
    return None, 0


def recent_events(path: Path, count: int) -> list[Event]:
    """Give the last events of a file that are neither steps nor heartbeats.

    Raises:
        RunError: the file cannot be read.
        FormatError: a newer UPS wrote it.
    """
    rare = (event for event in EventReader(path).events() if event.kind not in FREQUENT_KINDS)
    return list(deque(rare, maxlen=count))


class EventReader:
    """The end of an events file, from where this reader has got to.

    Lines that a reader may jump over are not parsed: of steps and heartbeats it gives the last ones, those before a
    run's turning points, and as many steps as are asked for. All other events are given.

    Args:
        path: of events.jsonl; need not exist yet.
        offset: bytes to leave out, whole lines.
        steps: whether steps are wanted for themselves: all of them, or `SAMPLES` when the reader is more than
            `EVERY_LINE` bytes behind.
    """

    def __init__(self, path: Path, offset: int = 0, *, steps: bool = False) -> None:
        self.offset = offset
        """Bytes that have been read; what follows is new, a torn line, or of a newer UPS."""
        self._path = path
        self._steps = steps
        self._mark = b""
        """The last line that was read, which must still be there."""

    def begins_anew(self) -> bool:
        """Tell whether lines that were read have changed, as when a machine lost power; if so, go back to the start.

        Raises:
            RunError: the file cannot be read.
        """
        start = self.offset - len(self._mark)
        if not self._mark or read_whole_lines(self._path, start, len(self._mark)) == self._mark:
            return False
        self.offset, self._mark = 0, b""
        return True

    def events(self) -> Iterator[Event]:
        """Read on to the end of the whole lines; lines that are no events, as a power cut may leave, are passed over.

        Raises:
            RunError: the file cannot be read.
            FormatError: a newer UPS wrote what comes next, now and at every call until the file is another.
        """
        distance = self._distance()
        while lines := read_whole_lines(self._path, self.offset, READ_SIZE):
            for start in _all_lines(lines) if distance == 1 else _chosen_lines(lines, -self.offset, distance):
                event = parse_event(lines[start : lines.index(b"\n", start)])
                if event is None:
                    continue
                if event.kind in FORMAT_KINDS:
                    try:
                        require_known("run history", event.data.get("format"), FORMAT, str(self._path))
                    except FormatError:
                        self._advance(lines[:start])
                        raise
                yield event
            self._advance(lines)

    def _advance(self, lines: bytes) -> None:
        if lines:
            self.offset += len(lines)
            self._mark = lines[max(_line_start(lines, len(lines) - 1), len(lines) - _MARK) :]

    def _distance(self) -> int:
        """Bytes between steps to take; 1 for all of them, 0 for none."""
        if not self._steps:
            return 0
        try:
            behind = self._path.stat().st_size - self.offset
        except OSError:  # opening it will tell
            return 1
        return 1 if behind <= EVERY_LINE else behind // SAMPLES


def _read(path: Path, offset: int, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}", "check its permissions") from error


def _line_start(lines: bytes, at: int) -> int:
    """Where the line begins that ends at, or holds, a byte."""
    return lines.rfind(b"\n", 0, at) + 1


def _all_lines(lines: bytes) -> list[int]:
    return [0, *(match.end() for match in re.finditer(b"\n", lines))][:-1]


def _chosen_lines(lines: bytes, first: int, distance: int) -> list[int]:
    """Choose the rare lines, of steps and heartbeats the last ones and those before a run's turning points, and,
    unless the distance is 0, the first line behind every so many bytes."""
    starts = {_line_start(lines, len(lines) - 1)}
    for kind in _FREQUENT:
        if (at := lines.rfind(kind)) >= 0:
            starts.add(_line_start(lines, at))
    for match in _RARE.finditer(lines):
        start = _line_start(lines, match.start())
        starts.add(start)
        if start and b'"run_' in lines[start : lines.index(b"\n", start)]:
            starts.add(_line_start(lines, start - 1))
    if distance:
        starts.update(lines.index(b"\n", at) + 1 for at in range(first % distance, len(lines), distance))
        starts.discard(len(lines))
    return sorted(starts)
