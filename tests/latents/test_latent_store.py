"""The store is plain Zarr, and its chunks are plain numbers."""

import json

import numpy as np
import pytest
import torch
import zarr
from toy_cache import FRAMES, toy_latents, toy_target

from ups_engine.latents.building.completion import build_target
from ups_engine.latents.layout import Layout, pack, unpack
from ups_engine.latents.store import LatentStore

DTYPES = ("float32", "float16", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
def test_zarr_reads_what_was_encoded_bit_for_bit(tmp_path, dtype):
    target = toy_target(tmp_path, dtype=dtype)
    build_target(target)
    group = zarr.open_group(target.path, mode="r")
    array = group["latents"]
    assert array.shape == (10, FRAMES, 6, 4) and array.chunks == (1, FRAMES, 6, 4)
    assert array.attrs["dtype"] == dtype
    assert array.dtype == ("uint16" if dtype == "bfloat16" else dtype)
    assert torch.equal(unpack(array[:], dtype), toy_latents(target))
    assert np.array_equal(group["trajectories"][:], target.rows)
    assert np.array_equal(group["cond/nu"][:], np.full(10, 0.01))
    assert group.attrs["fingerprint"] == target.fingerprint.digest
    assert group.attrs["fingerprint_parts"]["encoder"] == target.fingerprint.parts["encoder"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_are_the_bytes_that_zarr_itself_writes(tmp_path, dtype):
    target = toy_target(tmp_path, dtype=dtype)
    build_target(target)
    theirs = zarr.create_array(
        tmp_path / "theirs.zarr",
        data=zarr.open_group(target.path, mode="r")["latents"][:],
        chunks=(1, *target.shape),
        filters=None,
        compressors=zarr.codecs.Crc32cCodec(),
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    assert theirs.nchunks_initialized == 10
    for row in range(10):
        name = f"c.{row}.0.0.0"
        assert (target.path / "latents" / name).read_bytes() == (tmp_path / "theirs.zarr" / name).read_bytes()


def test_numpy_maps_a_trajectory_straight_from_its_file(tmp_path):
    target = toy_target(tmp_path)
    build_target(target)
    mapped = np.memmap(LatentStore(target.path, target.layout).chunk(7), "<f4", "r", shape=target.shape)
    assert np.array_equal(mapped, toy_latents(target)[7].numpy())


def test_a_trajectory_of_zeros_is_stored_like_any_other(tmp_path):
    target = toy_target(tmp_path)
    store = LatentStore(tmp_path / "zeros.zarr", target.layout)
    (store.path / "latents").mkdir(parents=True)
    crc = store.write(0, np.zeros(target.shape, np.float32))
    out = np.ones(target.shape, np.float32)
    assert store.read(0, out, crc) is None and not out.any()
    assert store.sizes() == {0: target.layout.chunk_bytes}


def test_the_manifest_records_every_trajectory_and_holds_no_time(tmp_path):
    target = toy_target(tmp_path, samples=4)
    build_target(target)
    record = json.loads((target.path / "manifest.json").read_text())
    assert set(record) == {"format", "fingerprint", "shape", "dtype", "chunk_bytes", "complete", "files", "crc32c"}
    assert record["complete"] == 4 and all(len(crc) == 8 for crc in record["crc32c"])


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 32), ("float16", 16), ("bfloat16", 16)])
def test_sizes_follow_from_the_layout(dtype, bits):
    layout = Layout(100, 41, 32, 16, dtype)
    assert layout.row_bytes == 41 * 32 * 16 * bits // 8
    assert layout.chunk_bytes == layout.row_bytes + 4
    assert layout.memory_bytes == 100 * 41 * 32 * 16 * 4


def test_blocks_are_bounded_in_bytes_and_in_trajectories():
    layout = Layout(1000, 41, 16, 16, "float32")
    assert layout.block(128 * 4).rows == 64
    assert layout.block(1024 * 4).rows == (4 << 20) // (41 * 4096)
    large = layout.block(512 * 512 * 2 * 4)
    assert (large.rows, large.frames) == (1, 2)
    assert layout.block(1 << 30).frames == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_packing_rounds_to_nearest_and_unpacking_is_exact(dtype):
    latents = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    packed = pack(latents, dtype)
    assert torch.equal(unpack(packed, dtype), latents.to(getattr(torch, dtype)).float())
