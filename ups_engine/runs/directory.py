"""The folder that holds all there is to know about a run."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ups_engine.errors import RunError
from ups_engine.formats import FormatError, require_known
from ups_engine.runs import strict_json
from ups_engine.runs.atomic import write_json, write_text
from ups_engine.runs.creation import RECORD, fill, given_folder, new_folder, source_commit
from ups_engine.runs.owner import Owner
from ups_engine.runs.ulid import new_ulid

_FORMAT = 1  # of run.json


@dataclass(frozen=True)
class RunRecord:
    """What run.json says that UPS itself reads; the rest is where the run comes from, for its user to look up."""

    created: float
    """UNIX time."""
    folder: Path
    """The working folder that the run was started in; relative paths of its settings begin there."""
    owner: Owner | None
    """The process that writes the run; None when it has let go."""


class RunDirectory:
    """A run, by its folder. What the files say is read when asked for, so an object never grows stale."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.name = self.path.name
        self.events = self.path / "events.jsonl"
        """The append-only history of the run."""
        self.commands = self.path / "commands"
        """The inbox."""
        self.log = self.path / "log.txt"
        """Standard output and error of a detached run."""
        self.checkpoints = self.path / "checkpoints"
        """The folder of stage results."""
        self.resume = self.checkpoints / "resume"
        """The folder of the running stage's resumable states."""
        self.reports = self.path / "reports"
        """The folder of evaluation results."""

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @classmethod
    def create(
        cls,
        root: Path,
        name: str | None,
        *,
        settings_toml: str,
        origins: Mapping[str, str],
        argv: Sequence[str],
        task: str,
        folder: Path | None = None,
    ) -> Self:
        """Make the folder of a new run.

        Args:
            root: folder of all runs; made when absent.
            name: of the run; None names it `<task>-<YYYYmmdd-HHMMSS>`, with a number behind when that is taken.
            settings_toml: the resolved settings.
            origins: the layer that each settings value came from.
            argv: the command line, program included.
            task: the PDE task of the data, as they say it.
            folder: of the user's choice, absent or empty; None makes one under `root`, by `name`.

        Raises:
            UsageError: the name cannot be a folder's.
            RunError: a run of that name exists, something is in the chosen folder already, or the disk refuses.
        """
        from importlib import metadata  # only a new run needs it

        path = given_folder(folder) if folder else new_folder(root, name, task).absolute()
        here = Path.cwd()
        record = {
            "format": _FORMAT,
            "id": new_ulid(),  # stays when the folder is moved or renamed
            "created": time.time(),
            "version": metadata.version("universal-physics-stack"),
            "commit": source_commit(),
            "argv": list(argv),
            # From the run's own folder, so that a project that is moved or copied stays whole.
            "folder": os.path.relpath(here, path) if path.is_relative_to(here) else str(here),
            "task": task,
            "owner": None,
        }
        files = {
            "settings.toml": settings_toml,
            "origins.json": strict_json.dumps(dict(origins), indent=2) + "\n",
            RECORD: strict_json.dumps(record, indent=2) + "\n",  # last: without it the folder is no run
        }
        try:
            fill(path, ("commands", "checkpoints/resume", "reports"), files)
        except BaseException:
            if folder is None:
                with suppress(OSError):
                    path.rmdir()
            raise
        return cls(path)

    @classmethod
    def list_runs(cls, root: Path) -> list[Self]:
        """Give the runs under a folder, newest first; folders that hold no run are left out."""
        if not root.is_dir():
            return []
        runs = [cls(path) for path in root.iterdir() if (path / RECORD).is_file()]
        return sorted(runs, key=lambda run: (_created(run), run.name), reverse=True)

    @classmethod
    def find(cls, reference: str | Path, root: Path) -> Self:
        """Give the run that a user means, by its name under `root` or by its folder.

        Raises:
            RunError: there is no such run; the hint names the nearest.
        """
        by_name, by_folder = root / reference, Path(reference).expanduser()
        for path in (by_name, by_folder):
            if (path / RECORD).is_file():
                return cls(path)
        if by_folder.is_dir():
            raise RunError(f"{reference} holds no run: there is no {RECORD} in that folder", _others("", root))
        raise RunError(f"there is no run {reference!s}", _others(by_folder.name, root))

    @property
    def record(self) -> RunRecord:
        """What run.json says of the run's beginning and owner.

        Raises:
            RunError: it is missing or damaged.
            FormatError: a newer UPS wrote it.
        """
        value = self._record()
        try:
            return RunRecord(
                created=float(value["created"]),
                folder=Path(os.path.normpath(self.path / value.get("folder", Path.cwd()))),
                owner=None if value["owner"] is None else Owner.from_json(value["owner"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(self.path / RECORD, f"{type(error).__name__} {error}") from None

    def write_owner(self, owner: Owner | None) -> None:
        """Enter the owner in run.json. For the holder of the lease only."""
        write_json(self.path / RECORD, {**self._record(), "owner": None if owner is None else owner.to_json()})

    @property
    def settings_toml(self) -> str:
        """The resolved settings that the run was started with.

        Raises:
            RunError: the file is missing or unreadable.
        """
        return _read_text(self.path / "settings.toml")

    def write_data_record(self, record: Mapping[str, object]) -> None:
        """Store what the run's data are: identity, splits, normalisation."""
        # On one line, as it lists every trajectory of every split.
        write_text(self.path / "data.json", strict_json.dumps(record) + "\n")

    def data_record(self) -> dict[str, Any] | None:
        """Give what `write_data_record` stored, or None when the run has not looked at its data yet.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / "data.json"
        return _read_json(path) if path.exists() else None

    def _record(self) -> dict[str, Any]:
        value = _read_json(self.path / RECORD)
        require_known("run record", value.get("format"), _FORMAT, str(self.path / RECORD))
        return value


def _others(name: str, root: Path) -> str:
    import difflib

    names = [run.name for run in RunDirectory.list_runs(root)]
    if not names:
        return f"there are no runs under {root} yet; start one with `ups train`"
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"nearest: {', '.join(nearest)}" if nearest else "`ups runs list` names the runs there are"


def _created(run: RunDirectory) -> float:
    try:
        return run.record.created
    except (RunError, FormatError):  # damaged runs are listed too
        return 0.0


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(getattr(error, "strerror", None) or error)) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path))
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(value, dict):
        raise _damaged(path, "it is no JSON object")
    return value


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(f"cannot read {path}: {reason}", "restore the file from a copy, or start a new run")
