"""Results of stages: tensors in `<name>.safetensors`, and beside them in `<name>.json` what they are.

The sidecar carries the checksum of the tensors, so the two are only ever accepted as a pair. A pair is replaced in
three moves, and a process killed between any two of them leaves the old pair or the new one:

1. the new sidecar is written as `.<name>.next.json`,
2. the new tensors are renamed into place: from here on they verify against the next sidecar,
3. the next sidecar is renamed into place; `settle_results` does it for an owner that was killed here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ups_engine.errors import CheckpointError, RunError
from ups_engine.runs.atomic import explaining_disk_errors, fsync, write_bytes, write_json
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.hashing import checksum
from ups_engine.runs.sidecars import load_sidecar, missing, refuse_stale, result_paths, sealed
from ups_engine.runs.tensor_file import pack, unpack

_RETRIES = 3
_SET_HERE = {"format", "sha256", "bytes", "seal"}


def save_result(run: RunDirectory, name: str, tensors: Mapping[str, Tensor], sidecar: Mapping[str, object]) -> None:
    """Store the result of a stage, replacing an earlier one of the name.

    Args:
        run: owned by the caller.
        name: such as `operator_ema`.
        tensors: by name, any device and format.
        sidecar: stage, settings fingerprint, metrics, normalisation: whatever a later stage must know. The keys
            `format`, `sha256`, `bytes` and `seal` are added. Equal arguments give files equal to the last bit.

    Raises:
        RunError: the disk is full or refuses; the earlier result is intact.
    """
    if taken := _SET_HERE & sidecar.keys():
        raise ValueError(f"the sidecar's keys {sorted(taken)} are set here")
    data = pack(tensors)
    described = sealed({**sidecar, "sha256": checksum(data), "bytes": len(data)})
    tensor_path, sidecar_path, next_path = result_paths(run, name)
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
        RunError: a file cannot be read.
        FormatError: a newer UPS wrote it.
    """
    data, sidecar = _read_pair(run, name)
    return unpack(data, str(result_paths(run, name)[0])), sidecar


def check_result(run: RunDirectory, name: str) -> None:
    """Make sure that a result is what was stored, and that it goes with the other results of the run.

    Raises:
        CheckpointError: as `load_result` and `refuse_stale`.
        RunError, FormatError: as `load_result`.
    """
    refuse_stale(run, name, _read_pair(run, name)[1])


def _read_pair(run: RunDirectory, name: str) -> tuple[bytes, dict[str, Any]]:
    tensor_path, sidecar_path, next_path = result_paths(run, name)
    for _ in range(_RETRIES):  # a run that replaces its result right now shows a mixed pair for a moment
        sidecars = [found for path in (sidecar_path, next_path) if (found := load_sidecar(path)) is not None]
        data = _read_tensors(tensor_path)
        if data is None or not sidecars:
            raise missing(run, name, tensor_path if data is None else sidecar_path)
        digest = checksum(data)
        for sidecar in sidecars:
            if sidecar["sha256"] == digest:
                return data, sidecar
    raise CheckpointError(
        f"{tensor_path} is damaged: it does not have the checksum that {sidecar_path.name} states",
        f"restore both files from a copy, or remove both and run the stage that makes {name} again",
    )


def settle_results(run: RunDirectory) -> None:
    """Bring every pair that a killed owner was replacing to its end, or back to where it was.

    Args:
        run: owned by the caller, who has not stored results yet.

    Raises:
        CheckpointError: a sidecar that was about to take its place is damaged.
        RunError: a file cannot be read, or the disk refuses.
    """
    for next_path in run.checkpoints.glob(".*.next.json"):
        name = next_path.name.removeprefix(".").removesuffix(".next.json")
        tensor_path, sidecar_path, _ = result_paths(run, name)
        data, sidecar = _read_tensors(tensor_path), load_sidecar(next_path)
        with explaining_disk_errors(sidecar_path):
            if data is not None and sidecar is not None and sidecar["sha256"] == checksum(data):
                next_path.replace(sidecar_path)
            else:
                next_path.unlink()
            fsync(run.checkpoints)


def _read_tensors(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
