"""The resumable state of the running stage: numbered folders, of which the newest that is whole counts.

Each holds `tensors.safetensors`, `state.json` and `manifest.json` with the checksums of both. A folder is filled
under a temporary name, manifest last, synced, and then renamed to its number; so a folder with a number is whole, and
the checksums guard against the disk. The two newest are kept.
"""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ups_engine.errors import CheckpointError
from ups_engine.formats import require_known
from ups_engine.runs.atomic import explaining_disk_errors, fsync
from ups_engine.runs.hashing import checksum
from ups_engine.runs.tensor_file import pack, unpack

_KEPT = 2
_FORMAT = 2  # of a manifest and what it lists
_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
_FILLING, _REMOVING = ".filling-", ".removing-"


class ResumeStore:
    """Resumable states in a folder, written by one process.

    Args:
        path: the folder; made when absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: tuple[str, ...] = ()
        """What the last `load` had to pass over, one sentence each; to be told to the user."""
        self.stamp: Mapping[str, object] = {}
        """Entries added to every state that is saved from now on."""
        self._unsound: set[int] = set()

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, object]) -> int:
        """Store a state durably; before this returns, the one before it counts.

        Args:
            tensors: by name, any device and format, stored to the last bit.
            state: JSON with string keys; numbers that are not finite are kept, tuples come back as lists.

        Returns:
            The number of the state, rising from 1.

        Raises:
            RunError: the disk is full or refuses; the states before are intact.
            TypeError: the state is not JSON.
        """
        contents = {
            _TENSORS: pack(tensors),
            _STATE: json.dumps(_encode({**state, **self.stamp}), allow_nan=False).encode(),
        }
        files = {name: {"sha256": checksum(data), "bytes": len(data)} for name, data in contents.items()}
        contents[_MANIFEST] = json.dumps({"format": _FORMAT, "files": files}, indent=2).encode()
        with explaining_disk_errors(self.path / _TENSORS):
            self.path.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            numbers = self._numbers()
            number = max(numbers, default=0) + 1
            filling = self.path / f"{_FILLING}{number}"
            try:
                filling.mkdir()
                for name, data in contents.items():
                    (filling / name).write_bytes(data)
                    fsync(filling / name)
                fsync(filling)
                filling.rename(self.path / f"{number:06d}")
            except BaseException:
                shutil.rmtree(filling, ignore_errors=True)
                raise
            fsync(self.path)
            sound = [kept for kept in numbers if kept not in self._unsound]
            for old in sorted({*numbers} - {*sound[-_KEPT + 1 :]}):
                self._remove(old)
        return number

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Give the newest state that is whole, its tensors on the CPU, or None when none was stored.

        Raises:
            CheckpointError: states were stored, and every one of them is damaged.
            FormatError: a newer UPS wrote the newest that could be read.
        """
        damaged = []
        for number in reversed(self._numbers()):
            folder = self.path / f"{number:06d}"
            try:
                found = _read(folder)
            except CheckpointError as error:
                damaged.append(error.message)
                self._unsound.add(number)
            else:
                self.damaged = tuple(damaged)
                return found
        self.damaged = tuple(damaged)
        if damaged:
            raise CheckpointError(
                f"no resumable state in {self.path} is sound: {'; '.join(damaged)}",
                "restore them from a copy, or remove that folder to begin the stage anew",
            )
        return None

    def clear(self) -> None:
        """Remove all states, the oldest first, so that a kill in between leaves the newest.

        Raises:
            RunError: the disk refuses.
        """
        with explaining_disk_errors(self.path / _TENSORS):
            if self.path.is_dir():
                self._remove_leftovers()
                for number in self._numbers():
                    self._remove(number)

    def _numbers(self) -> list[int]:
        if not self.path.is_dir():
            return []
        return sorted(int(path.name) for path in self.path.iterdir() if path.name.isdecimal() and path.is_dir())

    def _remove(self, number: int) -> None:
        doomed = self.path / f"{_REMOVING}{number}"
        (self.path / f"{number:06d}").rename(doomed)  # at once, so that no half of it ever looks like a state
        shutil.rmtree(doomed)
        self._unsound.discard(number)

    def _remove_leftovers(self) -> None:
        for prefix in (_FILLING, _REMOVING):
            for leftover in self.path.glob(f"{prefix}*"):
                shutil.rmtree(leftover)


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        files = manifest["files"]
        # Not passed over like a damaged one: going on from the state before it would lose what the newer UPS did.
        require_known("resumable state", manifest.get("format"), _FORMAT, str(folder))
        contents = {name: (folder / name).read_bytes() for name in (_TENSORS, _STATE)}
        bad = [name for name, data in contents.items() if files[name]["sha256"] != checksum(data)]
    except OSError as error:
        raise CheckpointError(f"{folder}: {error.strerror}: {Path(str(error.filename)).name}") from None
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{folder}: {_MANIFEST} is damaged") from None
    if bad:
        raise CheckpointError(f"{folder}: {' and '.join(bad)} changed since it was written")
    state = _decode(json.loads(contents[_STATE]))
    return unpack(contents[_TENSORS], str(folder / _TENSORS)), state


def _encode(value: object) -> object:
    """Make strict JSON that comes back exactly: a number that is not finite becomes {"$float": its name}."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str) or key == "$float"]:
            raise TypeError(f"a state's keys are strings, not {wrong[0]!r}")
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$float"}:
            return float(value["$float"])
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value
