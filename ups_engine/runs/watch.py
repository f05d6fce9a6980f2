"""Watching runs without being a burden to them: one thread reads what is new, and whoever draws takes the latest."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ups_engine.errors import RunError
from ups_engine.formats import FormatError
from ups_engine.runs.creation import RECORD
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.history import History, RunView
from ups_engine.runs.state import RunState, StateReader

__all__ = ["Damaged", "RunView", "RunsWatcher", "Watcher"]

INTERVAL = 0.25
"""Seconds between two looks at a run."""
INTERVAL_OF_ALL = 1.0
"""Seconds between two looks at all runs."""
_AT_REST = ("finished", "failed", "stopped", "parked", "lost")
_PUBLISH_WITHIN = 0.25
_PATIENCE = 2.0


class _Poller(ABC):
    """A daemon thread that looks at something regularly, and at once when it starts."""

    def __init__(self, interval: float, name: str) -> None:
        self._interval = interval
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name=name, daemon=True)

    def start(self) -> Self:
        """Begin; returns at once."""
        self._thread.start()
        return self

    def close(self) -> None:
        """End; closing again does nothing. A file system that hangs does not hold up the caller."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _go_on(self) -> None:
        while True:
            self.poll()
            if self._closed.wait(self._interval):
                return

    @abstractmethod
    def poll(self) -> None:
        """Look once."""


class Watcher(_Poller):
    """Follows one run. It holds the latest view and nothing else: what nobody took is gone.

    It only reads, and takes any size of history: far behind it, it takes a sample of the steps (see `EventReader`). A
    run that cannot be read is a `problem` until it can be again.

    Args:
        run: the run.
        interval: seconds between two looks.
        clock: UNIX time, for how long a run has been silent.
    """

    def __init__(self, run: RunDirectory, interval: float = INTERVAL, clock: Callable[[], float] = time.time) -> None:
        super().__init__(interval, f"watching {run.name}")
        self.run = run
        self.view: RunView | None = None
        """The latest; None before the first look has succeeded."""
        self.problem: str | None = None
        """One sentence on why the run cannot be read at the moment; the view stays what it was."""
        self._history = History()
        self._reader = StateReader(run, self._history, clock)
        self._seen = -1

    def poll(self) -> None:
        """Look once; what the thread does."""
        try:
            self._look()
            self.problem = None
        except (RunError, FormatError) as error:
            self.problem = error.message if self.run.path.is_dir() else f"the run's folder is gone: {self.run.path}"
        except Exception as error:  # a watcher outlives whatever somebody wrote into a history
            self.problem = f"cannot read the history of run {self.run.name}: {type(error).__name__} {error}"

    def _look(self) -> None:
        state, view = self._reader.poll(), self.view
        known = self._history.changes == self._seen
        if view is not None and known and replace(state, silence=view.state.silence) == view.state:
            self.view = replace(view, state=state)
        else:
            self.view = self._history.view(1 if view is None else view.version + 1, state)
        self._seen = self._history.changes


@dataclass(frozen=True)
class Damaged:
    """A run that cannot be read."""

    name: str
    message: str


_Stamp = tuple[int, int, int] | None
"""What a file looks like from outside: inode, size and time of change; None when absent."""


@dataclass
class _Known:
    """A run among all runs."""

    reader: StateReader
    stamps: tuple[_Stamp, _Stamp] | None = None
    """Of run.json and the events when the run was read."""
    state: RunState | Damaged | None = None


class RunsWatcher(_Poller):
    """Follows all runs under a folder. A run at rest is not read again until its files change.

    Args:
        root: folder of all runs; need not exist.
        interval: seconds between two looks.
        clock: UNIX time.
    """

    def __init__(self, root: Path, interval: float = INTERVAL_OF_ALL, clock: Callable[[], float] = time.time) -> None:
        super().__init__(interval, f"watching {root.name}")
        self.root = root
        self.states: tuple[RunState | Damaged, ...] | None = None
        """Newest first, the damaged last; None before the first look. The first look may grow it run by run."""
        self.problem: str | None = None
        """One sentence on why the folder cannot be read at the moment."""
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def poll(self) -> None:
        """Look once; what the thread does."""
        try:
            paths = list(self.root.iterdir()) if self.root.is_dir() else []
            self.problem = None
        except OSError as error:
            self.problem = f"cannot read {self.root}: {error.strerror}"
            return
        stamps = {path.name: (_stamp(path / RECORD), _stamp(path / "events.jsonl")) for path in paths}
        self._known = {
            name: self._known.get(name) or _Known(StateReader(RunDirectory(self.root / name), clock=self._clock))
            for name, (record, _) in stamps.items()
            if record is not None
        }
        published = time.monotonic()
        for name, known in self._known.items():
            self._look(known, stamps[name])
            if self._closed.is_set():
                return
            if time.monotonic() - published > _PUBLISH_WITHIN:
                self._publish()
                published = time.monotonic()
        self._publish()

    def _look(self, known: _Known, stamps: tuple[_Stamp, _Stamp]) -> None:
        run, state = known.reader.run, known.state
        at_rest = isinstance(state, RunState) and state.state in _AT_REST and not (state.lease and state.lease.alive)
        if at_rest and stamps == known.stamps:
            return
        known.stamps = stamps
        try:
            known.state = known.reader.poll()
        except (RunError, FormatError) as error:
            known.state = Damaged(run.name, error.message)
        except Exception as error:
            known.state = Damaged(run.name, f"cannot read its history: {type(error).__name__} {error}")

    def _publish(self) -> None:
        states = [known.state for known in self._known.values() if known.state is not None]
        self.states = tuple(sorted(states, key=_age))


def _age(state: RunState | Damaged) -> tuple[float, str]:
    return (-state.created, state.run) if isinstance(state, RunState) else (0.0, state.name)


def _stamp(path: Path) -> _Stamp:
    with suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None
