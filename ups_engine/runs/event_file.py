"""The events file as its readers see it: whole lines, from either end, while somebody else is writing it."""

import json
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ups_engine.errors import RunError
from ups_engine.formats import require_known
from ups_engine.runs.atomic import explaining_disk_errors

FREQUENT_KINDS: tuple[str, ...] = ("step", "heartbeat")
"""Kinds that come by the thousand, are not synced to the disk one by one, and that a reader may jump over."""
FORMAT = 1
"""Version of the page of `ups_engine.runs.events`."""
FORMAT_KINDS = frozenset({"run_started", "run_resumed"})
"""Kinds that state it, for what a process writes from there on."""
READ_SIZE = 8 << 20
"""Bytes that a reader of a long file takes at a time."""
_RARE = re.compile(rf'"kind": ?"(?!(?:{"|".join(FREQUENT_KINDS)})")'.encode())
_BLOCK = 1 << 16
_FIRST_BYTES = b'{"seq":'


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
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
            while b"\n" not in data and (more := file.read(limit)):
                data += more
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}", "check its permissions") from error
    return data[: data.rfind(b"\n") + 1]


def rare_lines(lines: bytes) -> Iterator[tuple[int, bytes]]:
    """Find the lines that are neither steps nor heartbeats, without parsing; now and then one of those comes along.

    Yields:
        A line, and where it starts.
    """
    last = -1
    for match in _RARE.finditer(lines):
        start = lines.rfind(b"\n", 0, match.start()) + 1
        if start != last:
            yield start, lines[start : lines.index(b"\n", start)]
        last = start


def require_known_format(event: Event, path: Path) -> None:
    """Make sure that what a process wrote from an event on can be understood.

    Raises:
        FormatError: a newer UPS wrote it.
    """
    if event.kind in FORMAT_KINDS:
        require_known("run history", event.data.get("format"), FORMAT, str(path))


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Read the events behind an offset; lines that are none, as a power cut may leave, are passed over.

    Args:
        path: of events.jsonl; need not exist yet.
        offset: in bytes, 0 or what the last call returned.

    Returns:
        The events, and the offset to go on from, which lies before a torn last line.

    Raises:
        RunError: the file cannot be read.
        FormatError: a newer UPS wrote it.
    """
    events = []
    while lines := read_whole_lines(path, offset, READ_SIZE):
        offset += len(lines)
        for line in lines.splitlines():
            if event := parse_event(line):
                require_known_format(event, path)
                events.append(event)
    return events, offset


def rare_events(path: Path) -> Iterator[Event]:
    """Give the events of a file that are neither steps nor heartbeats; those are jumped over.

    Raises:
        RunError: the file cannot be read.
        FormatError: a newer UPS wrote it.
    """
    offset = 0
    while lines := read_whole_lines(path, offset, READ_SIZE):
        offset += len(lines)
        for _, line in rare_lines(lines):
            if (event := parse_event(line)) and event.kind not in FREQUENT_KINDS:
                require_known_format(event, path)
                yield event


def recent_events(path: Path, count: int) -> list[Event]:
    """Give the last of `rare_events`, with the same errors."""
    return list(deque(rare_events(path), maxlen=count))


def find_last(file: int, path: Path) -> tuple[Event | None, int]:
    """Find the last event of an open file, looking from the end.

    Args:
        file: descriptor, readable.
        path: to name in errors.

    Returns:
        The event, or None when there is none yet, and the offset behind the last whole line: what follows is torn.

    Raises:
        RunError: the file holds something, but no history of a run.
    """
    size = os.fstat(file).st_size
    length = min(_BLOCK, size)
    while True:
        data = os.pread(file, length, size - length)
        whole = length == size  # else the block may begin inside a line
        end = last = data.rfind(b"\n") + 1
        while end:
            start = data.rfind(b"\n", 0, end - 1) + 1
            if (start or whole) and (event := parse_event(data[start:end])):
                return event, size - length + last
            end = start
        if whole:
            break
        length = min(length * 8, size)
    if last or not _FIRST_BYTES.startswith(data.rstrip(b"\0")[: len(_FIRST_BYTES)]):
        raise RunError(f"{path} is no history of a run", "move the file away; nothing was changed")
    return None, 0


def last_event(path: Path) -> Event | None:
    """Give the last event of a file, or None when there is none."""
    with explaining_disk_errors(path):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return find_last(file, path)[0]
        finally:
            os.close(file)
