"""What a latent cache depends on, as one digest: two caches share an entry only if all of it is the same."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Json: TypeAlias = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None

FORMAT = 1
"""Of the store's layout. A store of another format is another store."""


@dataclass(frozen=True)
class Fingerprint:
    """A digest and what went into it.

    Attributes:
        digest: 64 hex digits, SHA-256 of the parts as canonical JSON.
        parts: the parts, JSON-able, kept in the store so that a difference can be named.
    """

    digest: str
    parts: Mapping[str, Json]


def fingerprint(rows: NDArray[np.int64], parts: Mapping[str, Json]) -> Fingerprint:
    """Fingerprint the latents of one split.

    Args:
        rows: trajectories of the source in the split, (N,), in the order of the store.
        parts: what else they depend on, by name: `encoder`, the hash of its weights (see `hash_tensors`), by which
            caches are cleared; the source and what is made of it before encoding; shape and format of the latents.
    """
    order = np.ascontiguousarray(rows, dtype="<i8")
    counted: Json = {"count": int(order.size), "sha256": hashlib.sha256(order.tobytes()).hexdigest()}
    text = _canonical({"format": FORMAT, "rows": counted, **parts})
    return Fingerprint(hashlib.sha256(text.encode()).hexdigest(), json.loads(text))


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names; 64 hex digits.

    The device does not matter; any other difference in any weight or buffer does.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(_canonical([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def differences(ours: Mapping[str, Json], theirs: Mapping[str, Json]) -> list[str]:
    """Dotted names of the parts in which two fingerprints differ, in the order of ours, then theirs alone."""
    mine, other = dict(_leaves(ours)), dict(_leaves(theirs))
    return [key for key in {**mine, **other} if key not in mine or key not in other or mine[key] != other[key]]


def _leaves(parts: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    for key, value in parts.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
