"""Commands to a run, as files in its inbox `commands/`.

A command is `<ulid>.json` with `{"id", "kind", "stage", "time"}`, written under a temporary name and renamed, so that
it is there whole or not at all, and waits there even while no process runs. The run takes commands in the order of
their ids, acknowledges each by a `command` event, and moves its file to `commands/done/`. What is no command goes to
`commands/rejected/`, with the reason beside it.
"""

import json
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, get_args

from ups_engine.errors import RunError
from ups_engine.runs.atomic import explaining_disk_errors, write_json, write_text
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import EventReader
from ups_engine.runs.ulid import is_ulid, new_ulid

CommandKind = Literal["pause", "resume", "skip_stage", "finish_stage", "start_stage", "park", "stop"]
COMMAND_KINDS: tuple[CommandKind, ...] = get_args(CommandKind)
_LARGEST = 1 << 16  # bytes of a command file
_LATEST = 1e11  # UNIX time
_DONE, _REJECTED = "done", "rejected"


@dataclass(frozen=True)
class Command:
    """One wish of a user."""

    id: str
    """A ULID: sorts by the time of sending."""
    kind: CommandKind
    stage: str | None
    """The stage meant; None means the running one, and `start_stage` always names one."""
    time: float
    """UNIX time of sending."""


def send(run: RunDirectory, kind: CommandKind, *, stage: str | None = None) -> str:
    """Put a command into a run's inbox.

    Args:
        run: need not be running.
        kind: one of `COMMAND_KINDS`.
        stage: see `Command.stage`.

    Returns:
        The command's id, by which its acknowledgement is known.

    Raises:
        RunError: the disk is full or refuses.
        ValueError: there is no such kind, or `start_stage` without a stage.
    """
    command = Command(new_ulid(), kind, stage, time.time())
    if problem := _problem(command.kind, command.stage):
        raise ValueError(problem)
    with explaining_disk_errors(run.commands / command.id):
        run.commands.mkdir(exist_ok=True)
    write_json(run.commands / f"{command.id}.json", vars(command))
    return command.id


class Inbox:
    """The owner's end of a run's commands. A poll reads one folder: call it a few times a second, not every step."""

    def __init__(self, run: RunDirectory) -> None:
        self._events, self._folder = run.events, run.commands
        self._passed_over: set[str] | None = None  # file names; None before the first poll

    def poll(self) -> list[Command]:
        """Give the commands that wait, in the order sent; they wait on until `done`, also over a restart.

        Raises:
            RunError: the folder cannot be read.
        """
        with explaining_disk_errors(self._folder):
            try:
                names = sorted(path.name for path in self._folder.iterdir() if fnmatch(path.name, "[!.]*.json"))
            except FileNotFoundError:
                return []
        if self._passed_over is None:
            self._passed_over = set(self._put_away_acknowledged() if names else ())
        commands = []
        for name in names:
            if name in self._passed_over:
                continue
            try:
                commands.append(_read(self._folder / name))
            except FileNotFoundError:  # taken away between the two looks
                continue
            except ValueError as problem:
                self._passed_over.add(name)  # should it be immovable, it must not stop the run nor be read again
                with suppress(OSError, RunError):
                    self._move(name, _REJECTED)
                    write_text(self._folder / _REJECTED / f"{name}.reason.txt", f"{problem}\n")
        return commands

    def done(self, command: Command) -> None:
        """Put a command away, once its acknowledgement has been emitted.

        A process killed between the two leaves the file; the next one sees the acknowledgement and does not obey twice.

        Raises:
            RunError: the disk refuses.
        """
        with explaining_disk_errors(self._folder / _DONE / command.id):
            self._move(f"{command.id}.json", _DONE)

    def _put_away_acknowledged(self) -> Iterator[str]:
        for event in EventReader(self._events).events():
            if event.kind == "command" and is_ulid(identity := str(event.data.get("id"))):
                with suppress(OSError):
                    self._move(f"{identity}.json", _DONE)
                yield f"{identity}.json"

    def _move(self, name: str, where: str) -> None:
        (self._folder / where).mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            (self._folder / name).replace(self._folder / where / name)


def _read(path: Path) -> Command:
    """Read a command.

    Raises:
        FileNotFoundError: it is gone.
        ValueError: it is no command; says why.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise ValueError("not a regular file")
    if status.st_size > _LARGEST:
        raise ValueError(f"{status.st_size} bytes are too many for a command")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError, PermissionError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    identity, kind, stage, sent = (value.get(key) for key in ("id", "kind", "stage", "time"))
    if not isinstance(identity, str) or not is_ulid(identity) or identity != path.stem:
        raise ValueError("its id is not a ULID that the file is named after")
    if stage is not None and not isinstance(stage, str):
        raise ValueError("its stage is not a name")
    if isinstance(sent, bool) or not isinstance(sent, int | float) or not abs(sent) < _LATEST:
        raise ValueError("its time is not UNIX time")
    if problem := _problem(kind, stage):
        raise ValueError(problem)
    return Command(identity, kind, stage, float(sent))  # type: ignore[arg-type]


def _problem(kind: object, stage: str | None) -> str | None:
    if kind not in COMMAND_KINDS:
        return f"{kind!r} is none of {', '.join(COMMAND_KINDS)}"
    if kind == "start_stage" and stage is None:
        return "start_stage does not say which stage"
    return None
