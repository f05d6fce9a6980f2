"""Sidecars of results: what a result is, what it was trained on, and whether that still stands.

A sidecar carries a seal, the checksum of the rest of it, so that one edited by hand or hurt by the disk is found out.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ups_engine.errors import CheckpointError, RunError
from ups_engine.formats import require_known
from ups_engine.runs import strict_json
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.hashing import checksum

_FORMAT = 3  # of a sidecar; the first two had no seal
_SEAL = "seal"


def sealed(sidecar: Mapping[str, object]) -> dict[str, object]:
    """Give a sidecar with its format and seal."""
    whole = {"format": _FORMAT, **sidecar}
    return {**whole, _SEAL: _seal(whole)}


def result_paths(run: RunDirectory, name: str) -> tuple[Path, Path, Path]:
    """Where a result's tensors are, its sidecar, and the sidecar that is about to take that one's place."""
    folder = run.checkpoints
    return folder / f"{name}.safetensors", folder / f"{name}.json", folder / f".{name}.next.json"


def has_result(run: RunDirectory, name: str) -> bool:
    """Tell whether a result was stored; only `load_result`, which reads it, finds out whether it is sound."""
    tensor_path, sidecar_path, next_path = result_paths(run, name)
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
    tensor_path, sidecar_path, _ = result_paths(run, name)
    sidecar = load_sidecar(sidecar_path)
    if sidecar is None or not tensor_path.is_file():
        raise missing(run, name, sidecar_path if sidecar is None else tensor_path)
    return sidecar


def list_results(run: RunDirectory) -> list[str]:
    """Give the names of the results stored, sorted."""
    return sorted(path.stem for path in run.checkpoints.glob("[!.]*.safetensors") if has_result(run, path.stem))


def refuse_stale(run: RunDirectory, name: str, sidecar: Mapping[str, Any]) -> None:
    """Make sure that a result is of this run, and that what it was trained on is what is there now.

    What is gone or damaged now cannot be compared: whoever loads it hears of that. Sidecars of earlier versions say
    less, and what they do not say is not held against them.

    Raises:
        CheckpointError: it is another run's, or what it was trained on was made anew.
    """
    path = result_paths(run, name)[0]
    if sidecar.get("run", here := run.record.id) != here:
        raise CheckpointError(
            f"{path} was made by another run", "put this run's own back, or train its stage again in this run"
        )
    if other := remade(run, sidecar.get("trained_on", {})):
        raise CheckpointError(
            f"{path} was trained with another {', '.join(other)} than the run has now",
            f"put that back, or train {name} again: ups train --resume {run.name}"
            f" --stage {sidecar.get('stage', 'STAGE')}",
        )


def remade(run: RunDirectory, hashes: Mapping[str, str]) -> list[str]:
    """Those of some results, given with the hashes that they had, that the run has with other hashes now."""
    return [name for name, digest in hashes.items() if _hash_now(run, name) not in (None, digest)]


def flaw(run: RunDirectory, name: str) -> str | None:
    """What can be told against a result without reading its tensors; None where that is nothing.

    Raises:
        FormatError: a newer UPS wrote it.
    """
    try:
        sidecar, path = read_sidecar(run, name), result_paths(run, name)[0]
        if path.stat().st_size != sidecar.get("bytes"):
            return f"{path} is damaged: it does not have the size that its sidecar states"
        refuse_stale(run, name, sidecar)
    except (CheckpointError, RunError) as problem:
        return problem.message
    return None


def load_sidecar(path: Path) -> dict[str, Any] | None:
    """Read a sidecar; None where there is no file.

    Raises:
        CheckpointError: it is damaged.
        RunError: it cannot be read.
        FormatError: a newer UPS wrote it.
    """
    hint = "restore it from a copy, or run the stage again"
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    except ValueError as error:
        raise CheckpointError(f"cannot read {path}: {error}", hint) from None
    if not isinstance(value, dict) or "sha256" not in value:
        raise CheckpointError(f"{path} is no sidecar of a checkpoint", hint)
    version = require_known("checkpoint", value.get("format"), _FORMAT, str(path))
    if value.pop(_SEAL, None if version < _FORMAT else "") not in (None, _seal(value)):
        raise CheckpointError(f"{path} is damaged: it is not as UPS wrote it", hint)
    return value


def missing(run: RunDirectory, name: str, path: Path) -> CheckpointError:
    """What to say of a result without which nothing goes on, `path` being the file that is not there."""
    present = ", ".join(list_results(run)) or "none"
    return CheckpointError(
        f"there is no checkpoint {name} in {run.checkpoints}: {path.name} is missing",
        f"checkpoints there: {present}; run the stage that makes {name} first",
    )


def _hash_now(run: RunDirectory, name: str) -> str | None:
    """The hash of a result's tensors as its sidecar states it; None of one that is gone or damaged."""
    tensor_path, sidecar_path, next_path = result_paths(run, name)
    try:
        sidecar = load_sidecar(sidecar_path)
    except CheckpointError:
        return None
    if next_path.exists() and tensor_path.exists():  # it is being replaced, or a killed process was replacing it
        return checksum(tensor_path.read_bytes())
    return None if sidecar is None else str(sidecar["sha256"])


def _seal(sidecar: Mapping[str, object]) -> str:
    return checksum(strict_json.dumps(sidecar).encode())
