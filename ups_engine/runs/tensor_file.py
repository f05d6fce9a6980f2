"""Tensors as bytes and back, to the last bit (safetensors: no code runs on loading)."""

from collections.abc import Mapping

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ups_engine.errors import CheckpointError


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Turn named tensors into the content of a safetensors file.

    Any device, shape (0-d and empty included), stride and sharing of memory will do; equal tensors give equal bytes.

    Args:
        tensors: by name; complex128 is the one number format that safetensors lacks.

    Raises:
        TypeError: a format that safetensors lacks.
    """
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        dense = tensor.detach().resolve_conj().resolve_neg().to("cpu").contiguous()
        storage = dense.untyped_storage()
        # safetensors refuses views into shared memory and tensors that share theirs, such as tied weights.
        if storage.data_ptr() in seen or storage.nbytes() != dense.nbytes:
            dense = dense.clone()
        seen.add(storage.data_ptr())
        plain[name] = dense
    try:
        return save(plain)
    except KeyError as error:
        raise TypeError(f"safetensors has no number format for {error}") from None


def unpack(data: bytes, where: str) -> dict[str, Tensor]:
    """Read what `pack` gave; the tensors are on the CPU.

    Args:
        data: content of a safetensors file.
        where: the file, to name in errors.

    Raises:
        CheckpointError: the bytes are no safetensors file.
    """
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{where} is no safetensors file: {error}", "make it again") from None
