"""The folder that holds all there is to know about a run."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from ups_engine.errors import RunError
from ups_engine.formats import FormatError
from ups_engine.runs import strict_json
from ups_engine.runs.atomic import write_text
from ups_engine.runs.creation import RECORD, fill, given_folder, new_folder, source_commit
from ups_engine.runs.hashing import checksum
from ups_engine.runs.owner import Owner
from ups_engine.runs.record import (
    RECORD_FORMAT,
    RunRecord,
    read_bytes,
    read_json,
    read_record,
    read_text,
    updating_record,
)
from ups_engine.runs.ulid import new_ulid

_SETTINGS, _DATA = "settings.toml", "data.json"


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
            "format": RECORD_FORMAT,
            "id": new_ulid(),
            "created": time.time(),
            "version": metadata.version("universal-physics-stack"),
            "commit": source_commit(),
            "argv": list(argv),
            # From the run's own folder, so that a project that is moved or copied stays whole.
            "folder": os.path.relpath(here, path) if path.is_relative_to(here) else str(here),
            "task": task,
            "owner": None,
            "hashes": {_SETTINGS: checksum(settings_toml.encode())},
        }
        files = {
            _SETTINGS: settings_toml,
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
        return read_record(self.path)

    def write_owner(self, owner: Owner | None) -> None:
        """Enter the owner in run.json. For the holder of the lease only."""
        with updating_record(self.path) as record:
            record["owner"] = None if owner is None else owner.to_json()

    def vouch(self, *paths: Path) -> None:
        """Enter files of the run in run.json by the hashes that they have now.

        Raises:
            RunError: one of them cannot be read, or the disk refuses.
        """
        hashes = {str(path.relative_to(self.path)): checksum(read_bytes(path)) for path in paths}
        with updating_record(self.path) as record:
            record["hashes"] = {**record.get("hashes", {}), **hashes}

    def vouch_for_the_rest(self) -> None:
        """Enter what earlier versions wrote, or a killed process had no time to enter. For the holder of the lease."""
        known = self.record.hashes
        ours = [self.path / _SETTINGS, self.path / _DATA, *sorted(self.reports.glob("[!.]*"))]
        if fresh := [path for path in ours if path.is_file() and str(path.relative_to(self.path)) not in known]:
            self.vouch(*fresh)

    def changed(self, path: Path) -> str | None:
        """How a file of the run differs from what UPS wrote, such as `data.json is missing`; None where it does not.

        Raises:
            RunError: it cannot be read, or run.json is missing or damaged.
        """
        name = str(path.relative_to(self.path))
        known = self.record.hashes.get(name)
        if not path.exists():
            return None if known is None else f"{name} is missing"
        same = known is None or known == checksum(read_bytes(path))
        return None if same else f"{name} is not as UPS wrote it"

    def changes(self) -> list[str]:
        """What `changed` says of all the files that run.json knows."""
        found = (self.changed(self.path / name) for name in self.record.hashes)
        return [sentence for sentence in found if sentence is not None]

    @property
    def settings_toml(self) -> str:
        """The resolved settings that the run was started with.

        Raises:
            RunError: the file is missing, unreadable, or was changed since.
        """
        path = self.path / _SETTINGS
        self._refuse_changed(path, f"restore it from a copy; other settings are for a new run: --config {path}")
        return read_text(path)

    def write_data_record(self, record: Mapping[str, object]) -> None:
        """Store what the run's data are: identity, splits, normalisation."""
        # On one line, as it lists every trajectory of every split.
        write_text(self.path / _DATA, strict_json.dumps(record) + "\n")
        self.vouch(self.path / _DATA)

    def data_record(self) -> dict[str, Any] | None:
        """Give what `write_data_record` stored, or None when the run has not looked at its data yet.

        Raises:
            RunError: the file is damaged, gone, or was changed since.
        """
        path = self.path / _DATA
        self._refuse_changed(path, "restore it from a copy, or start a new run")
        return read_json(path) if path.exists() else None

    def _refuse_changed(self, path: Path, hint: str) -> None:
        if change := self.changed(path):
            raise RunError(f"run {self.name}: {change}", hint)


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
