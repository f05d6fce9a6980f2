"""A cache that is completed while it is read gives the bits, and ends with the bytes, of one completed first."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from terminal import fork
from toy_cache import FRAMES, files_of, toy_latents, toy_target, work

from ups_engine.errors import CacheError
from ups_engine.latents.building.completion import build_target
from ups_engine.latents.checking.examine import RowState, examine
from ups_engine.latents.reading.mapped import DiskLatents
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.reading.readers import RamLatents
from ups_engine.latents.store import LatentStore

CPU = torch.device("cpu")
CHOICES = ("ram", "disk", "gpu")  # gpu holds the latents on the device of the batches, here the CPU


@pytest.fixture
def reference(tmp_path):
    """The files of a cache completed first."""
    whole = toy_target(tmp_path / "whole")
    build_target(whole)
    return files_of(whole.path)


def batches(samples: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """An epoch of all windows of two frames, in random order and batches of 4."""
    order = np.random.default_rng(seed).permutation(samples * (FRAMES - 1))
    return [(part // (FRAMES - 1), part % (FRAMES - 1)) for part in np.array_split(order, len(order) // 4)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("cached", [0, 4, 9])
@pytest.mark.parametrize("choice", CHOICES)
def test_the_first_epoch_has_the_bits_of_a_complete_cache(tmp_path, choice, cached, dtype):
    whole, target = toy_target(tmp_path / "whole", dtype=dtype), toy_target(tmp_path / "one", dtype=dtype)
    build_target(whole)
    if cached:
        build_target(target, limit=cached)
    counts: list[int] = []
    reader = open_latents(target, choice, CPU, completed=counts.append)
    latents = toy_latents(target)
    for rows, frames in batches(10) + batches(10, seed=1):
        expected = torch.stack([latents[row, frame : frame + 2] for row, frame in zip(rows, frames, strict=True)])
        assert torch.equal(reader.gather(rows, frames, 1), expected)
    reader.close()
    assert files_of(target.path) == files_of(whole.path)
    assert counts[0] == cached and counts[-1] == 10 and counts == sorted(counts)


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_cached_is_read_and_only_blocks_that_are_asked_for_are_encoded(tmp_path, choice):
    target, asked = toy_target(tmp_path), []
    build_target(target, limit=3)
    read = target.read
    watched = replace(target, read=lambda rows, frames: (asked.append(rows.tolist()), read(rows, frames))[1])
    reader, zero = open_latents(watched, choice, CPU), np.zeros(1, dtype=np.int64)
    reader.gather(np.array([2]), zero, 0)
    assert not asked
    reader.gather(torch.tensor([7]), torch.tensor([0]), 0)
    assert asked == [[13, 15, 17]], "the whole block, and no other"
    reader.gather(np.array([6]), zero, 0)
    reader.gather(np.array([8]), zero, 0)
    assert len(asked) == 1
    assert examine(target).states.tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("choice", CHOICES)
def test_damage_in_what_is_cached_is_mended_with_a_word(tmp_path, choice, reference):
    target, said = toy_target(tmp_path / "one"), []
    build_target(target, limit=6)
    path = LatentStore(target.path, target.layout).chunk(4)
    data = bytearray(path.read_bytes())
    data[11] ^= 4
    path.write_bytes(data)
    reader = open_latents(target, choice, CPU, said.append)
    everything = reader.gather(np.arange(10), np.zeros(10, dtype=np.int64), FRAMES - 1)
    assert torch.equal(everything, toy_latents(target))
    assert said == ["train cache: trajectory 4: its checksum fails; encoding again"]
    assert files_of(target.path) == reference


@pytest.mark.parametrize(("choice", "kind"), [("ram", RamLatents), ("disk", DiskLatents)])
def test_a_complete_cache_is_read_as_ever(tmp_path, choice, kind):
    target = toy_target(tmp_path)
    build_target(target)

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("read again")

    assert isinstance(open_latents(replace(target, read=refuse), choice, CPU), kind)


def test_a_cache_of_another_fingerprint_is_replaced_and_one_too_large_for_the_disk_refused(tmp_path):
    target, said = toy_target(tmp_path), []
    build_target(target)
    (target.path / "manifest.json").unlink()
    reader = open_latents(target, "ram", CPU, said.append)
    zeros = np.zeros(10, dtype=np.int64)
    assert torch.equal(reader.gather(np.arange(10), zeros, FRAMES - 1), toy_latents(target))
    huge = replace(toy_target(tmp_path / "b"), rows=np.arange(1_000_000, dtype=np.int64), shape=(1000, 1000, 1000))
    with pytest.raises(CacheError, match=r"of which .* are missing"):
        open_latents(huge, "disk", CPU)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("row", "frame"), [(10, 0), (-1, 0), (0, 5)])
def test_what_lies_outside_the_store_is_refused(tmp_path, choice, row, frame):
    reader = open_latents(toy_target(tmp_path), choice, CPU)
    with pytest.raises(IndexError):
        reader.gather(np.array([row]), np.array([frame]), 0)


def test_a_block_that_another_process_encodes_is_waited_for_and_taken_over_when_it_dies(tmp_path):
    target = toy_target(tmp_path)
    build_target(target, limit=3)
    code = (
        "import sys, pathlib, time; from ups_engine.latents.claims import StoreLock\n"
        "lock = StoreLock(pathlib.Path(sys.argv[1])); print(lock.claim(2), flush=True); time.sleep(0.5)"
    )
    command = [sys.executable, "-c", code, str(target.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        reader = open_latents(target, "ram", CPU)
        batch = reader.gather(np.array([7]), np.zeros(1, dtype=np.int64), FRAMES - 1)
        assert holder.poll() is not None, "the block was encoded while another process had it"
    assert torch.equal(batch[0], toy_latents(target)[7])


def test_beside_a_build_nothing_is_lost_nor_encoded_otherwise(tmp_path):
    samples = 400
    whole = toy_target(tmp_path / "whole", samples=samples, rows_in_block=2)
    build_target(whole)
    target = toy_target(tmp_path / "shared", samples=samples, rows_in_block=2)
    latents = toy_latents(target)
    builder = fork(work, tmp_path / "shared", samples, "build")
    while not target.path.exists():
        assert builder.exitcode is None, "ended without building"
    reader = open_latents(target, "ram", CPU)
    for rows, frames in batches(samples):
        expected = torch.stack([latents[row, frame : frame + 2] for row, frame in zip(rows, frames, strict=True)])
        assert torch.equal(reader.gather(rows, frames, 1), expected)
    builder.join(60)
    assert builder.exitcode == 0
    assert examine(target, deep=True).count(RowState.COMPLETE) == samples
    assert files_of(target.path) == files_of(whole.path)
