"""`ups cache check` names every damage, says what differs, and changes nothing."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_cache import files_of, toy_target

from ups_engine.formats import FormatError
from ups_engine.latents.building.completion import build_target
from ups_engine.latents.building.repair import repair_target
from ups_engine.latents.checking.examine import RowState, examine
from ups_engine.latents.checking.report import CacheReport, check_targets
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.store import LatentStore
from ups_engine.latents.target import CacheContext, CacheTarget
from ups_engine.telemetry.gpu import GpuDevice
from ups_engine.telemetry.memory import MemoryBudget

ROWS = 6


def open_latents_in_ram(target: CacheTarget) -> None:
    open_latents(target, "ram", torch.device("cpu"))


MEMORY = MemoryBudget(8 << 30, "host memory", 16 << 30)


def report_of(*targets: CacheTarget, deep: bool = False) -> CacheReport:
    context = CacheContext(targets, "the encoder of a test", "cpu", "auto")
    return check_targets(context, deep=deep, memory=MEMORY, gpus=[])


def states(target: CacheTarget, *, deep: bool) -> list[RowState]:
    return [RowState(state) for state in examine(target, deep=deep).states]


def edit(path: Path, **changes: object) -> None:
    record = json.loads(path.read_text())
    attributes = changes.pop("attributes", {})
    record.setdefault("attributes", {}).update(attributes)
    path.write_text(json.dumps({**record, **changes}))


def damage(target: CacheTarget, kind: str, row: int, place: int) -> tuple[bool, dict[int, RowState], str]:
    """Corrupt a complete store; whether the quick check must see it, the states due, and a word of the finding."""
    store = LatentStore(target.path, target.layout)
    chunk, other = store.chunk(row), store.chunk((row + 1) % ROWS)
    every = range(ROWS)
    if kind == "truncate":
        with chunk.open("r+b") as file:
            file.truncate(place % target.layout.chunk_bytes)
        return True, {row: RowState.CORRUPT}, f"trajectory {row} has the wrong size"
    if kind == "lengthen":
        chunk.write_bytes(chunk.read_bytes() + b"\0")
        return True, {row: RowState.CORRUPT}, f"trajectory {row} has the wrong size"
    if kind == "delete":
        chunk.unlink()
        return True, {row: RowState.MISSING}, f"the file of trajectory {row} is missing"
    if kind == "flip":
        data = bytearray(chunk.read_bytes())
        data[place % len(data)] ^= 1 << (place % 8)
        chunk.write_bytes(data)
        return False, {row: RowState.CORRUPT}, f"trajectory {row}: its checksum fails"
    if kind == "swap":
        a, b = chunk.read_bytes(), other.read_bytes()
        chunk.write_bytes(b)
        other.write_bytes(a)
        return False, {row: RowState.CORRUPT, (row + 1) % ROWS: RowState.CORRUPT}, "not the one recorded"
    if kind == "stale":
        edit(target.path / "zarr.json", attributes={"fingerprint": "0" * 64})
        return True, dict.fromkeys(every, RowState.STALE), "fingerprint is not the current one"
    if kind == "dtype":
        edit(target.path / "latents/zarr.json", data_type="float64")
        return True, dict.fromkeys(every, RowState.CORRUPT), "data_type = 'float64' where 'float32'"
    if kind == "shape":
        edit(target.path / "latents/zarr.json", shape=[ROWS + 1, *target.shape])
        return True, dict.fromkeys(every, RowState.CORRUPT), "says shape"
    if kind == "metadata":
        (target.path / ("zarr.json", "latents/zarr.json")[place % 2]).write_text('{"torn":')
        return True, dict.fromkeys(every, RowState.CORRUPT), "zarr.json is missing or unreadable"
    if kind == "no manifest":
        (target.path / "manifest.json").unlink()
        return True, dict.fromkeys(every, RowState.MISSING), "nothing vouches for 6 chunk files"
    if kind == "torn manifest":
        text = (target.path / "manifest.json").read_text()
        (target.path / "manifest.json").write_text(text[: place % (len(text) - 2)])
        return True, dict.fromkeys(every, RowState.MISSING), "manifest.json is missing or unreadable"
    assert kind == "foreign manifest"
    other_target = toy_target(target.path.parent / "other", samples=ROWS, seed=1)
    build_target(other_target)
    shutil.copy(other_target.path / "manifest.json", target.path)
    return True, dict.fromkeys(every, RowState.STALE), "manifest.json belongs to another cache"


KINDS = [
    *("truncate", "lengthen", "delete", "flip", "swap", "stale", "dtype", "shape", "metadata"),
    *("no manifest", "torn manifest", "foreign manifest"),
]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, ROWS - 1), st.integers(0, 10_000))
def test_every_damage_is_found_by_the_check_that_promises_it(kind, row, place):
    with tempfile.TemporaryDirectory() as folder:
        target = toy_target(Path(folder), samples=ROWS)
        build_target(target)
        sound = files_of(target.path)
        quick, due, words = damage(target, kind, row, place)
        damaged = files_of(target.path)
        expected = [due.get(i, RowState.COMPLETE) for i in range(ROWS)]
        for deep in (False, True):
            found = examine(target, deep=deep)
            if deep or quick:
                assert list(found.states) == expected
                assert words in "; ".join(found.findings)
            else:
                assert found.complete and not found.findings
        assert files_of(target.path) == damaged, "a check changed the store"
        build_target(target, rows=[i for i, state in due.items() if not quick])
        assert files_of(target.path) == sound
        assert examine(target, deep=True).complete


def test_the_report_has_exactly_the_keys_of_the_contract(tmp_path):
    train, val = toy_target(tmp_path, samples=4), toy_target(tmp_path, samples=2, split="val", dtype="float16")
    build_target(train)
    gpu = GpuDevice(1, "NVIDIA H200", "GPU-1", 100 << 30, 140 << 30, 3.0, 41.0, 90.0)
    context = CacheContext((train, val), "the encoder of a test", "cpu", "auto")
    checked = check_targets(context, memory=MEMORY, gpus=[gpu])
    report = checked.to_json()
    reason = (
        "2.81 KiB of latents fit into the 8.00 GiB of memory free under host memory, of which 1.60 GiB are kept back;"
        " training runs on the CPU"
    )
    assert report == {
        "splits": [
            {
                "name": "train",
                "samples": 4,
                "complete": 4,
                "missing": 0,
                "stale": 0,
                "corrupt": 0,
                "bytes_on_disk": 4 * (5 * 6 * 4 * 4 + 4),
                "bytes_in_ram": 4 * 5 * 6 * 4 * 4,
            },
            {
                "name": "val",
                "samples": 2,
                "complete": 0,
                "missing": 2,
                "stale": 0,
                "corrupt": 0,
                "bytes_on_disk": 0,
                "bytes_in_ram": 2 * 5 * 6 * 4 * 4,
            },
        ],
        "ram": {"available_bytes": 8 << 30, "limit_source": "host memory", "sufficient": True},
        "gpu": [
            {
                "index": 1,
                "name": "NVIDIA H200",
                "free_bytes": 100 << 30,
                "total_bytes": 140 << 30,
                "sufficient": True,
            }
        ],
        "residency": {"choice": "ram", "reason": reason},
        "ready": False,
        "verdict": checked.verdict(),
    }
    assert json.loads(json.dumps(report)) == report


def test_the_verdict_says_what_is_wrong_and_what_to_do(tmp_path):
    target = toy_target(tmp_path, samples=ROWS)
    assert report_of(target).verdict().startswith("Not ready. train: there is no cache yet. `ups cache build` encodes")
    build_target(target, limit=4)
    assert "2 of 6 trajectories have not been encoded" in report_of(target).verdict()
    build_target(target)
    assert report_of(target).verdict().startswith("Ready: all 6 trajectories are complete (sizes and record hold;")
    assert "(every checksum holds)" in report_of(target, deep=True).verdict()


def test_a_deep_check_tells_how_far_it_is(tmp_path):
    target, calls = toy_target(tmp_path, samples=3), []
    build_target(target)
    examine(target, deep=True, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_many_bad_trajectories_are_named_in_one_clause(tmp_path):
    target = toy_target(tmp_path, samples=9)
    build_target(target)
    for row in range(1, 8):
        LatentStore(target.path, target.layout).chunk(row).unlink()
    assert examine(target).findings == ("the file of trajectories 1, 2, 3, 4, 5 and 2 more is missing",)


@pytest.mark.parametrize("part", ["strides", "dtype"])
def test_a_cache_made_stale_by_settings_says_which_part_changed(tmp_path, part):
    target = toy_target(tmp_path, samples=ROWS)
    build_target(target)
    parts = {**target.fingerprint.parts, part: "changed"}
    later = replace(target, fingerprint=replace(target.fingerprint, digest="f" * 64, parts=parts))
    target.path.rename(later.path)
    (finding,) = examine(later).findings
    assert finding.startswith(f"its fingerprint is not the current one ({part}")
    assert np.all(examine(later).states == RowState.STALE)


def newer(path: Path) -> None:
    record = json.loads(path.read_text())
    place = record.get("attributes", record)
    place["format"] = 2
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("work", [examine, build_target, open_latents_in_ram, repair_target])
@pytest.mark.parametrize("stating", [("zarr.json", "manifest.json"), ("zarr.json",), ("manifest.json",)])
def test_a_cache_of_a_newer_format_is_refused_with_both_versions_and_stays(tmp_path, work, stating):
    target = toy_target(tmp_path, samples=ROWS)
    build_target(target)
    for name in ("zarr.json", "manifest.json"):
        if name in stating:
            newer(target.path / name)
        else:
            (target.path / name).unlink()
    before = files_of(target.path)
    with pytest.raises(FormatError, match=r"latent cache\) is of version 2; this UPS reads up to version 1"):
        work(target)
    assert files_of(target.path) == before


def test_a_version_that_only_one_record_states_is_damage_and_mended(tmp_path):
    target = toy_target(tmp_path, samples=ROWS)
    build_target(target)
    sound = files_of(target.path)
    newer(target.path / "zarr.json")
    assert examine(target).damaged
    build_target(target)
    assert files_of(target.path) == sound
