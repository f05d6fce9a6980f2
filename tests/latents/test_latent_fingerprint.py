"""A cache belongs to exactly one encoder, source, split and format."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_cache import toy_target

from ups_engine.latents.building.completion import build_target
from ups_engine.latents.checking.examine import RowState, examine
from ups_engine.latents.fingerprint import differences, fingerprint, hash_tensors
from ups_engine.latents.location import neighbours, store_path

ROWS = np.arange(5)
PARTS = {
    "encoder": "a" * 64,
    "source": {"files": [{"name": "u.h5", "stamp": "1"}]},
    "fields": ["u"],
    "split": "train",
    "normalisation": {"mean": [0.1], "std": [2.0]},
    "strides": {"space": 1, "time": 2},
    "frames": 41,
    "patch_size": 8,
    "tokens": 32,
    "dim": 16,
    "dtype": "float16",
}
OTHERS = {
    "encoder": "b" * 64,
    "source": {"files": [{"name": "u.h5", "stamp": "2"}]},
    "fields": ["v"],
    "split": "val",
    "normalisation": {"mean": [0.1], "std": [2.0000001]},
    "strides": {"space": 1, "time": 1},
    "frames": 40,
    "patch_size": 4,
    "tokens": 64,
    "dim": 8,
    "dtype": "bfloat16",
}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_changes_the_digest_and_is_named(part):
    one, other = fingerprint(ROWS, PARTS), fingerprint(ROWS, {**PARTS, part: OTHERS[part]})
    assert one.digest != other.digest
    (named,) = differences(one.parts, other.parts)
    assert named.startswith({"strides": "strides.time"}.get(part, part))


@pytest.mark.parametrize("rows", [np.arange(1, 6), np.arange(4), ROWS[::-1]])
def test_other_rows_and_another_order_are_another_cache(rows):
    one, other = fingerprint(ROWS, PARTS), fingerprint(rows, PARTS)
    assert one.digest != other.digest and "rows.sha256" in differences(one.parts, other.parts)


def test_the_same_parts_give_the_same_digest_in_every_process():
    assert fingerprint(ROWS, PARTS).digest == "9e65ff4722ea0748a2e6995b0a4c12aa1ec246cce373ca78dd51af1e29bb45fc"


@given(st.integers(0, 11), st.integers(0, 31))
def test_one_flipped_bit_of_one_weight_is_another_encoder(position, bit):
    weights = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    flipped = weights.clone()
    flipped.view(torch.int32).view(-1)[position] ^= -(2**31) if bit == 31 else 1 << bit
    assert hash_tensors({"w": weights}) != hash_tensors({"w": flipped})


def test_names_shapes_and_dtypes_count_and_order_does_not():
    a, b = torch.zeros(4), torch.ones(2, dtype=torch.float64)
    reference = hash_tensors({"a": a, "b": b})
    assert hash_tensors({"b": b, "a": a}) == reference
    assert hash_tensors({"b": a, "a": b}) != reference
    assert hash_tensors({"a": a.view(2, 2), "b": b}) != reference
    assert hash_tensors({"a": a.to(torch.int32), "b": b}) != reference
    assert hash_tensors({"a": torch.tensor(1.0)}) != hash_tensors({"a": torch.tensor([1.0])})


def test_two_encoders_never_share_an_entry(tmp_path):
    first, second = toy_target(tmp_path, seed=0), toy_target(tmp_path, seed=1)
    build_target(first)
    assert first.path != second.path
    seen = examine(second)
    assert seen.count(RowState.MISSING) == 10
    assert seen.findings == (f"there is no cache yet; {first.path.name} is of another fingerprint (encoder differs)",)


def test_a_store_under_the_name_of_another_encoder_is_stale_and_replaced(tmp_path):
    first, second = toy_target(tmp_path, seed=0), toy_target(tmp_path, seed=1)
    build_target(first)
    first.path.rename(second.path)
    seen = examine(second)
    assert seen.count(RowState.STALE) == 10
    assert "fingerprint is not the current one (encoder differs)" in seen.findings[0]
    build_target(second)
    assert examine(second).complete


def test_caches_are_named_by_task_split_and_fingerprint(tmp_path):
    digest = "0123456789abcdef" * 4
    path = store_path(tmp_path, "navier stokes/2d", "val", digest)
    assert path == tmp_path / "navier_stokes_2d-val-0123456789ab.zarr"
    for name in ("navier_stokes_2d-val-ffffffffffff.zarr", "navier_stokes_2d-train-ffffffffffff.zarr", "x"):
        (tmp_path / name).mkdir()
    assert [p.name for p in neighbours(path)] == ["navier_stokes_2d-val-ffffffffffff.zarr"]
