"""Following an events file while it is written: what is new, parsed, at a cost that does not grow with the file."""

from collections.abc import Iterator
from pathlib import Path

from ups_engine.runs.event_file import FREQUENT_KINDS, READ_SIZE, Event, parse_event, rare_lines, read_whole_lines

EVERY_LINE = 4 << 20
"""Bytes up to which a reader that has fallen behind still takes every step."""
SAMPLES = 10_000
"""Steps that it takes of anything longer, evenly spread over the bytes."""
_FREQUENT = tuple(f'"kind":"{kind}"'.encode() for kind in FREQUENT_KINDS)
_MARK = 4096


class Tail:
    """The end of an events file, from where this reader has got to.

    Lines that a reader may jump over are not parsed: of steps and heartbeats it gives the last ones, those before a
    run's turning points, and as many steps as are asked for. All other events are given.

    Args:
        path: of events.jsonl; need not exist yet.
        steps: whether steps are wanted for themselves: all of them, or `SAMPLES` when the reader is more than
            `EVERY_LINE` bytes behind.
    """

    def __init__(self, path: Path, *, steps: bool = False) -> None:
        self.offset = 0
        """Bytes that have been read; what follows is new, or a torn line."""
        self._path = path
        self._steps = steps
        self._mark = b""
        """The last line that was read, which must still be there."""

    def begins_anew(self) -> bool:
        """Tell whether lines that were read have changed, as when a machine lost power; if so, go back to the start.

        Raises:
            RunError: the file cannot be read.
        """
        if not self.offset:
            return False
        if read_whole_lines(self._path, self.offset - len(self._mark), len(self._mark)) == self._mark:
            return False
        self.offset, self._mark = 0, b""
        return True

    def events(self) -> Iterator[Event]:
        """Read on to the end of the whole lines.

        Raises:
            RunError: the file cannot be read.
        """
        distance = self._distance()
        while lines := read_whole_lines(self._path, self.offset, READ_SIZE):
            starts = _all_lines(lines) if distance == 1 else _turning_points(lines)
            if distance > 1:
                starts.update(_line_behind(lines, at) for at in range(-self.offset % distance, len(lines), distance))
            starts.discard(len(lines))
            self.offset += len(lines)
            self._mark = lines[max(_last_line(lines), len(lines) - _MARK) :]
            for start in sorted(starts):
                if event := parse_event(lines[start : lines.index(b"\n", start)]):
                    yield event

    def _distance(self) -> int:
        """Bytes between steps to take; 1 for all of them, 0 for none."""
        if not self._steps:
            return 0
        try:
            behind = self._path.stat().st_size - self.offset
        except OSError:  # opening it will tell
            return 1
        return 1 if behind <= EVERY_LINE else behind // SAMPLES


def _last_line(lines: bytes) -> int:
    return lines.rfind(b"\n", 0, len(lines) - 1) + 1


def _line_behind(lines: bytes, at: int) -> int:
    return lines.index(b"\n", at) + 1


def _all_lines(lines: bytes) -> set[int]:
    starts, at = set(), 0
    while at < len(lines):
        starts.add(at)
        at = _line_behind(lines, at)
    return starts


def _turning_points(lines: bytes) -> set[int]:
    """Find the rare lines, and of steps and heartbeats the last ones and those before a run's turning points."""
    starts = {_last_line(lines)}
    for kind in _FREQUENT:
        if (at := lines.rfind(kind)) >= 0:
            starts.add(lines.rfind(b"\n", 0, at) + 1)
    for start, line in rare_lines(lines):
        starts.add(start)
        if start and b'"run_' in line:
            starts.add(lines.rfind(b"\n", 0, start - 1) + 1)
    return starts
