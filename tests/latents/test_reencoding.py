"""A deep check encodes a sample again: rounding of another device passes, other weights do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_cache import toy_target

from ups_engine.latents.building.completion import build_target
from ups_engine.latents.building.repair import repair_target
from ups_engine.latents.checking.examine import RowState, examine
from ups_engine.latents.checking.reencoding import encode_block
from ups_engine.latents.store import LatentStore


def perturbed(target, size):
    """The same encoder with an error of a given size relative to the latents."""

    def encode(fields):
        latents = target.encode(fields)
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        return latents * (1 + size * noise.clamp(-2, 2))

    return replace(target, encode=encode)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_sound_store_agrees_bit_for_bit(tmp_path, dtype):
    target = toy_target(tmp_path, samples=30, dtype=dtype)
    build_target(target)
    store, block = LatentStore(target.path, target.layout), examine(target).block
    fresh = encode_block(target, block, 9)
    assert all(store.chunk(27 + i).read_bytes()[:-4] == fresh[i].tobytes() for i in range(3))
    found = examine(target, deep=True)
    assert found.complete and found.re_encoded == 4 * 3, "four trajectories, each with its block of three"


@pytest.mark.parametrize(("size", "agrees"), [(1e-6, True), (1e-3, True), (0.05, False), (1.0, False)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rounding_passes_and_another_encoder_does_not(tmp_path, dtype, size, agrees):
    target = toy_target(tmp_path, samples=30, dtype=dtype)
    build_target(perturbed(target, size))
    found = examine(target, deep=True)
    assert found.complete is agrees
    if not agrees:
        assert np.all(found.states == RowState.STALE)
        (finding,) = found.findings
        assert finding.startswith("of 12 trajectories that were encoded again 12 (all 12) differ")


def test_one_bad_trajectory_in_the_sample_makes_the_whole_store_be_compared(tmp_path):
    target, calls = toy_target(tmp_path, samples=30), []
    bad = (0, 16)  # 0 is in every sample, 16 in none
    build_target(replace(target, read=lambda rows, frames: target.read(rows, frames) + 9.0 * _is(rows, bad, target)))
    found = examine(target, deep=True, progress=lambda *call: calls.append(call))
    assert np.flatnonzero(found.states == RowState.STALE).tolist() == list(bad)
    assert found.re_encoded == 30 and calls[-1] == (30, 30)
    assert repair_target(target).encoded == 2 and examine(target, deep=True).complete


def _is(rows, bad, target):
    return np.isin(rows, target.rows[list(bad)])[:, None, None, None].astype(np.float32)


def test_a_store_without_sound_trajectories_has_nothing_to_encode_again(tmp_path):
    target = toy_target(tmp_path, samples=6)
    build_target(target, limit=1)
    LatentStore(target.path, target.layout).chunk(0).write_bytes(b"")
    found = examine(target, deep=True)
    assert found.re_encoded == 0 and found.count(RowState.CORRUPT) == 1
