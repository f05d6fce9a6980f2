"""Results of stages: tensors in `<name>.safetensors`, and beside them in `<name>.json` what they are.

The sidecar carries the checksum of the tensors, so the two are only ever accepted as a pair. A pair is replaced in
three moves, and a process killed between any two of them leaves the old pair or the new one:

1. the new sidecar is written as `.<name>.next.json`,
2. the new tensors are renamed into place: from here on they verify against the next sidecar,
3. the next sidecar is renamed into place; `settle_results` does it for an owner that was killed here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ups_engine.errors import CheckpointError
from ups_engine.formats import require_known
from ups_engine.runs.atomic import explaining_disk_errors, fsync, write_bytes, write_json
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.tensor_file import checksum, pack, unpack

_RETRIES = 3
_FORMAT = 2  # of a sidecar
_SET_HERE = {"format", "sha256", "bytes"}


def save_result(run: RunDirectory, name: str, tensors: Mapping[str, Tensor], sidecar: Mapping[str, object]) -> None:
    """Store the result of a stage, replacing an earlier one of the name.

    Args:
        run: owned by the caller.
        name: such as `operator_ema`.
        tensors: by name, any device and format.
        sidecar: stage, settings fingerprint, metrics, normalisation: whatever a later stage must know. The keys
            `format`, `sha256` and `bytes` are added. Equal arguments give files equal to the last bit.

    Raises:
        RunError: the disk is full or refuses; the earlier result is intact.
    """
    if taken := _SET_HERE & sidecar.keys():
        raise ValueError(f"the sidecar's keys {sorted(taken)} are set here")
    data = pack(tensors)
    described = {"format": _FORMAT, **sidecar, "sha256": checksum(data), "bytes": len(data)}
    tensor_path, sidecar_path, next_path = _paths(run, name)
    write_json(next_path, described)
    write_bytes(tensor_path, data)
    with explaining_disk_errors(sidecar_path):
        next_path.replace(sidecar_path)
        fsync(sidecar_path.parent)


def load_result(run: RunDirectory, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load the result of a stage and make sure that it is what was stored.

    Args:
        run: any run.
        name: such as `operator_ema`.

    Returns:
        The tensors, on the CPU, and the sidecar.

    Raises:
        CheckpointError: there is no such result, or its files are damaged or do not belong together.
        FormatError: a newer UPS wrote it.
    """
    tensor_path, sidecar_path, next_path = _paths(run, name)
    for _ in range(_RETRIES):  # a run that replaces its result right now shows a mixed pair for a moment
        sidecars = [found for path in (sidecar_path, next_path) if (found := _read_sidecar(path)) is not None]
        data = _read_tensors(tensor_path)
        if data is None or not sidecars:
            raise _missing(run, name, tensor_path if data is None else sidecar_path)
        digest = checksum(data)
        for sidecar in sidecars:
            if sidecar["sha256"] == digest:
                return unpack(data, str(tensor_path)), sidecar
    raise CheckpointError(
        f"{tensor_path} is damaged: it does not have the checksum that {sidecar_path.name} states",
        f"restore both files from a copy, or remove both and run the stage that makes {name} again",
    )


def has_result(run: RunDirectory, name: str) -> bool:
    """Tell whether a result was stored; only `load_result` finds out whether it is sound."""
    tensor_path, sidecar_path, next_path = _paths(run, name)
    return tensor_path.is_file() and (sidecar_path.is_file() or next_path.is_file())


def read_sidecar(run: RunDirectory, name: str) -> dict[str, Any]:
    """Give what is known of a result, with the SHA-256 of its tensors as `sha256`; the tensors are not read.

    Args:
        run: settled, if a killed owner left it (`settle_results`).
        name: such as `operator_ema`.

    Raises:
        CheckpointError: there is no such result, or its sidecar is damaged.
        FormatError: a newer UPS wrote it.
    """
    tensor_path, sidecar_path, _ = _paths(run, name)
    sidecar = _read_sidecar(sidecar_path)
    if sidecar is None or not tensor_path.is_file():
        raise _missing(run, name, sidecar_path if sidecar is None else tensor_path)
    return sidecar


def list_results(run: RunDirectory) -> list[str]:
    """Give the names of the results stored, sorted."""
    return sorted(path.stem for path in run.checkpoints.glob("[!.]*.safetensors") if has_result(run, path.stem))


def settle_results(run: RunDirectory) -> None:
    """Bring every pair that a killed owner was replacing to its end, or back to where it was.

    Args:
        run: owned by the caller, who has not stored results yet.

    Raises:
        CheckpointError: a file cannot be read.
        RunError: the disk refuses.
    """
    for next_path in run.checkpoints.glob(".*.next.json"):
        name = next_path.name.removeprefix(".").removesuffix(".next.json")
        tensor_path, sidecar_path, _ = _paths(run, name)
        data, sidecar = _read_tensors(tensor_path), _read_sidecar(next_path)
        with explaining_disk_errors(sidecar_path):
            if data is not None and sidecar is not None and sidecar["sha256"] == checksum(data):
                next_path.replace(sidecar_path)
            else:
                next_path.unlink()
            fsync(run.checkpoints)


def _paths(run: RunDirectory, name: str) -> tuple[Path, Path, Path]:
    folder = run.checkpoints
    return folder / f"{name}.safetensors", folder / f"{name}.json", folder / f".{name}.next.json"


def _read_tensors(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", "check its permissions") from None


def _read_sidecar(path: Path) -> dict[str, Any] | None:
    hint = "restore it from a copy, or run the stage again"
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {error}", hint) from None
    if not isinstance(value, dict) or "sha256" not in value:
        raise CheckpointError(f"{path} is no sidecar of a checkpoint", hint)
    require_known("checkpoint", value.get("format"), _FORMAT, str(path))
    return value


def _missing(run: RunDirectory, name: str, path: Path) -> CheckpointError:
    present = ", ".join(list_results(run)) or "none"
    return CheckpointError(
        f"there is no checkpoint {name} in {run.checkpoints}: {path.name} is missing",
        f"checkpoints there: {present}; run the stage that makes {name} first",
    )
