"""Every residency gives the same bits, reads nothing damaged, and stays within its memory."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_cache import FRAMES, toy_latents, toy_target

from ups_engine.errors import CacheError
from ups_engine.latents.building.completion import build_target
from ups_engine.latents.checking.examine import examine
from ups_engine.latents.reading import mapped
from ups_engine.latents.reading.mapped import DiskLatents
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.reading.resident import CompletingLatents
from ups_engine.latents.store import LatentStore

CPU = torch.device("cpu")
CHOICES = ("ram", "disk", "gpu")  # gpu holds the latents on the device of the batches, here the CPU
DTYPES = ("float32", "float16", "bfloat16")


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    targets = {dtype: toy_target(folder, dtype=dtype) for dtype in DTYPES}
    for target in targets.values():
        build_target(target)
    readers = {(d, c): open_latents(t, c, CPU) for d, t in targets.items() for c in CHOICES}
    return targets, readers


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_all_readers_give_the_bits_that_were_stored(caches, dtype, data):
    targets, readers = caches
    horizon = data.draw(st.integers(0, FRAMES - 1))
    pairs = data.draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, FRAMES - 1 - horizon)), min_size=1, max_size=20)
    )
    rows, frames = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    latents = toy_latents(targets[dtype])
    expected = torch.stack([latents[r, f : f + horizon + 1] for r, f in pairs])
    for choice in CHOICES:
        batch = readers[dtype, choice].gather(rows, frames, horizon)
        assert batch.dtype == torch.float32 and batch.shape == expected.shape
        assert torch.equal(batch, expected)
        assert torch.equal(
            readers[dtype, choice].gather(torch.from_numpy(rows), torch.from_numpy(frames), horizon), batch
        )


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("row", "frame", "horizon"), [(10, 0, 0), (-1, 0, 0), (0, 4, 1), (0, -1, 1), (0, 0, 5)])
def test_what_lies_outside_the_store_is_refused(caches, choice, row, frame, horizon):
    with pytest.raises(IndexError):
        caches[1]["float32", choice].gather(np.array([row]), np.array([frame]), horizon)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("kind", ["flip", "swap"])
def test_a_damaged_chunk_is_encoded_again_with_a_word_before_it_is_used(tmp_path, choice, kind):
    target, said = toy_target(tmp_path), []
    build_target(target)
    store = LatentStore(target.path, target.layout)
    chunk, other = store.chunk(4), store.chunk(8)
    content = bytearray(chunk.read_bytes())
    if kind == "swap":
        chunk.write_bytes(other.read_bytes())
        other.write_bytes(content)
    else:
        content[17] ^= 4
        chunk.write_bytes(content)
    reader = open_latents(target, choice, CPU, said.append)
    rows = np.arange(10)
    assert torch.equal(reader.gather(rows, np.zeros_like(rows), FRAMES - 1), toy_latents(target))
    reason = {"swap": "trajectories 4, 8: its file is intact, but", "flip": "trajectory 4: its checksum fails"}[kind]
    assert len(said) == 1 and said[0].startswith(f"train cache: {reason}") and said[0].endswith("encoding again")
    assert examine(target, deep=True).complete


@pytest.mark.parametrize("choice", CHOICES)
def test_damage_that_cannot_be_mended_is_refused_by_name(tmp_path, choice):
    target = toy_target(tmp_path)
    build_target(target)
    chunk = LatentStore(target.path, target.layout).chunk(4)
    chunk.write_bytes(bytes(target.layout.chunk_bytes))
    seen = examine(target)
    store = LatentStore(target.path, target.layout)
    with pytest.raises(CacheError, match=r"trajectory 4 of .*zarr is damaged: its (checksum fails|file is intact)"):
        if choice == "disk":
            reader = DiskLatents(store, seen.manifest.checksums, CPU, 1 << 20, lambda faults: seen.manifest.checksums)
            reader.gather(np.array([4]), np.array([0]), 1)
        else:
            latents = CompletingLatents(
                store, seen.manifest.checksums, CPU, CPU, lambda faults: seen.manifest.checksums
            )
            latents.load(np.arange(10))


@pytest.mark.parametrize(("resident", "maps"), [(1, 16_384), (1 << 20, 3), (1, 1), (4096 * 4, 5)])
def test_dropping_pages_and_maps_changes_no_bit(tmp_path, monkeypatch, resident, maps):
    monkeypatch.setattr(mapped, "_MAPS", maps)
    target = toy_target(tmp_path)
    build_target(target)
    manifest = examine(target).manifest
    reader = DiskLatents(
        LatentStore(target.path, target.layout), manifest.checksums, CPU, resident, lambda faults: manifest.checksums
    )
    latents, random = toy_latents(target), np.random.default_rng(0)
    for _ in range(60):
        rows, frames = random.integers(0, 10, 4), random.integers(0, FRAMES - 1, 4)
        expected = torch.stack([latents[r, f : f + 2] for r, f in zip(rows, frames, strict=True)])
        assert torch.equal(reader.gather(rows, frames, 1), expected)
    reader.close()


def test_mapped_latents_stay_within_their_memory(tmp_path):
    """96 MiB of latents read over and over through 16 MiB of pages; measured in a process of its own."""
    code = """
import sys, numpy as np, psutil, torch
from pathlib import Path
from ups_engine.latents.layout import Layout
from ups_engine.latents.reading.mapped import DiskLatents
from ups_engine.latents.store import LatentStore
layout = Layout(96, 64, 64, 64, "float32")
store = LatentStore(Path(sys.argv[1]), layout)
(store.path / "latents").mkdir(parents=True)
crcs = np.array([store.write(row, np.full(layout.row_shape, row, np.float32)) for row in range(96)])
reader = DiskLatents(store, crcs, torch.device("cpu"), 16 << 20, lambda faults: crcs)
order, memory = np.random.default_rng(0), psutil.Process().memory_info
before, most = memory().shared, 0  # of the resident pages those of files; a batch itself is not
for _ in range(200):
    rows = order.integers(0, 96, 8)
    batch = reader.gather(rows, np.zeros(8, np.int64), 63)
    assert (batch[:, 63, 63, 63].numpy() == rows).all()
    most = max(most, memory().shared - before)
print(most)
"""
    most = int(subprocess.check_output([sys.executable, "-c", code, str(tmp_path / "s.zarr")], text=True))
    assert most < 24 << 20  # the pages, and some of the libraries


@pytest.mark.gpu
def test_latents_on_a_gpu_have_the_same_bits_and_take_indices_there(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    rows, frames = np.array([3, 0, 9]), np.array([1, 0, 3])
    for dtype in DTYPES:
        target = toy_target(tmp_path, dtype=dtype)
        build_target(target)
        expected = open_latents(target, "ram", CPU).gather(rows, frames, 1)
        for choice in CHOICES:
            reader = open_latents(target, choice, device)
            batch = reader.gather(rows, frames, 1)
            assert batch.is_cuda and torch.equal(batch.cpu(), expected)
            there = reader.gather(torch.from_numpy(rows).to(device), torch.from_numpy(frames).to(device), 1)
            assert torch.equal(there, batch)
