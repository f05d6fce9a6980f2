"""Events of a run on stdout, for programs that start it and listen."""

import os
import sys
import threading
from pathlib import Path
from typing import Self

from ups_app.cli.output import notice
from ups_engine.errors import RunError
from ups_engine.runs.event_file import READ_SIZE, find_last, read_whole_lines

_LOOKS_APART = 0.1


class EventLines:
    """Inside the block, copies every line that is added to a run's events to stdout, byte for byte.

    A thread follows the file, so that a program that reads slowly, or no longer, never holds up the run.

    Args:
        events: the file; what it holds already is left out.

    Raises:
        RunError: on entering, the file is no history of a run.
    """

    def __init__(self, events: Path) -> None:
        self._path = events
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="event-lines", daemon=True)
        self._offset = 0

    def __enter__(self) -> Self:
        _, self._offset = find_last(self._path)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        last = False
        try:
            while not last:
                last = self._ended.wait(_LOOKS_APART)
                while lines := read_whole_lines(self._path, self._offset, READ_SIZE):
                    self._offset += len(lines)
                    rest = memoryview(lines)
                    while rest:
                        rest = rest[os.write(sys.stdout.fileno(), rest) :]
        except (OSError, RunError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else problem.message
            notice(f"no more events on stdout ({reason}); the run goes on")
