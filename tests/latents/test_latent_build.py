"""A build may be stopped, killed, resumed and shared; the bytes are the same."""

import random
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from terminal import fork
from toy_cache import files_of, toy_latents, toy_target, work

from ups_engine.errors import CacheError, RunError
from ups_engine.latents.building.completion import BuildResult, build_target
from ups_engine.latents.checking.examine import RowState, examine
from ups_engine.latents.claims import StoreLock
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.store import LatentStore

CPU = torch.device("cpu")
MANY = 400  # trajectories, so that a build takes a while


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, bytes]:
    """The files of a build that nobody disturbed, of `MANY` trajectories."""
    target = toy_target(tmp_path_factory.mktemp("reference"), samples=MANY, rows_in_block=2)
    build_target(target)
    return files_of(target.path)


def test_a_complete_cache_is_built_once(tmp_path):
    target = toy_target(tmp_path)
    calls: list[tuple[int, int]] = []
    assert build_target(target, progress=lambda *call: calls.append(call)) == BuildResult(10, 10)
    assert calls == [(0, 10), (3, 10), (6, 10), (9, 10), (10, 10)]

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("read again")

    assert build_target(replace(target, read=refuse)) == BuildResult(10, 0)


def test_the_source_is_read_once_and_in_order(tmp_path):
    target, asked = toy_target(tmp_path), []
    read = target.read
    build_target(replace(target, read=lambda rows, frames: (asked.append(rows.tolist()), read(rows, frames))[1]))
    assert asked == [[1, 3, 5], [7, 9, 11], [13, 15, 17], [19]]


def test_a_stopped_build_goes_on_where_it_was(tmp_path):
    target = toy_target(tmp_path / "one")

    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_target(target, progress=interrupt)
    assert examine(target).count(RowState.MISSING) == 7
    assert build_target(target) == BuildResult(10, 7)
    whole = toy_target(tmp_path / "two")
    build_target(whole)
    assert files_of(target.path) == files_of(whole.path)


def test_a_limit_bounds_what_is_encoded_and_keeps_the_bytes(tmp_path):
    target, whole = toy_target(tmp_path / "one"), toy_target(tmp_path / "two")
    calls: list[tuple[int, int]] = []
    assert build_target(target, limit=4, progress=lambda *call: calls.append(call)) == BuildResult(4, 4)
    assert calls[-1] == (4, 4)
    assert build_target(target, limit=100).complete == 10
    build_target(whole)
    assert files_of(target.path) == files_of(whole.path)


def test_each_trajectory_is_always_encoded_with_the_same_companions(tmp_path):
    target, sizes = toy_target(tmp_path), []
    encode = target.encode
    watched = replace(target, encode=lambda fields: (sizes.append(fields.shape[0]), encode(fields))[1])
    build_target(watched, limit=1)
    build_target(watched)
    assert sizes == [3, 3, 3, 3, 1]


def test_a_trajectory_too_large_to_encode_at_once_is_encoded_in_pieces(tmp_path):
    target, pieces = toy_target(tmp_path, samples=2), []
    read = target.read
    large = replace(
        target,
        frame_bytes=2 << 20,
        read=lambda rows, frames: (pieces.append((rows.tolist(), frames.tolist())), read(rows, frames))[1],
    )
    build_target(large)
    assert pieces == [([r], f) for r in (1, 3) for f in ([0, 1], [2, 3], [4])]
    reader = open_latents(target, "ram", CPU)
    zeros = np.zeros(2, dtype=np.int64)
    assert torch.equal(reader.gather(np.arange(2), zeros, 4), toy_latents(target))


def kill_when(builder: BaseProcess, chunk: Path) -> bool:
    """Kill a builder as soon as a chunk is there; whether it was still building."""
    while builder.is_alive() and not chunk.exists():
        pass
    builder.kill()
    builder.join()
    return builder.exitcode == -signal.SIGKILL


def test_killed_at_random_moments_it_ends_with_the_bytes_of_an_uninterrupted_build(tmp_path, uninterrupted):
    target = toy_target(tmp_path, samples=MANY, rows_in_block=2)
    store = LatentStore(target.path, target.layout)
    for row in sorted(random.Random(0).sample(range(MANY // 2), 3)):
        builder = fork(work, tmp_path, MANY, "build")
        assert kill_when(builder, store.chunk(row)), "the kill did not hit the build; the test proves nothing"
    (target.path / ".manifest.json.0123456789ab.tmp").write_text("what a kill inside the manifest's write leaves")
    build_target(target)
    assert files_of(target.path) == uninterrupted


def test_two_builders_share_a_store_without_loss(tmp_path, uninterrupted):
    builders = [fork(work, tmp_path, MANY, "build") for _ in range(2)]
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert files_of(toy_target(tmp_path, samples=MANY).path) == uninterrupted


def test_a_builder_waits_for_a_claimed_block_and_takes_over_when_its_holder_dies(tmp_path):
    target = toy_target(tmp_path)
    build_target(target, limit=3)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from ups_engine.latents.claims import StoreLock\n"
            "lock = StoreLock(pathlib.Path(sys.argv[1])); print(lock.claim(2), flush=True); sys.stdin.read()",
            str(target.path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "True\n"
    calls: list[int] = []

    def kill_once_all_else_is_done(done: int, total: int) -> None:
        calls.append(done)
        if calls.count(7) == 3:
            holder.kill()
            holder.wait()

    assert build_target(target, progress=kill_once_all_else_is_done).complete == 10
    assert calls.count(7) >= 3 and calls[-1] == 10


def test_claims_are_seen_by_other_processes_only_and_end_with_the_holder(tmp_path):
    code = (
        "import sys, pathlib; from ups_engine.latents.claims import StoreLock\n"
        "print(StoreLock(pathlib.Path(sys.argv[1])).claim(5))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.zarr")]
    with StoreLock(tmp_path / "a.zarr") as lock:
        assert lock.claim(5)
        assert subprocess.check_output(command, text=True) == "False\n"
        lock.unclaim(5)
        assert subprocess.check_output(command, text=True) == "True\n"
        assert lock.claim(5)
    assert subprocess.check_output(command, text=True) == "True\n"


def test_non_finite_latents_are_refused_by_trajectory_and_frame(tmp_path):
    target = toy_target(tmp_path)
    encode = target.encode

    def spoil(fields: np.ndarray) -> torch.Tensor:
        latents = encode(fields)
        if fields.shape[0] == 1:  # the last block
            latents[0, 3, 0, 0] = torch.nan
        return latents

    with pytest.raises(CacheError, match="non-finite latents for trajectory 19, frame 3 of the train split"):
        build_target(replace(target, encode=spoil))
    assert examine(target).count(RowState.COMPLETE) == 9


def test_latents_beyond_float16_are_refused_with_the_format_to_take(tmp_path):
    target = toy_target(tmp_path, dtype="float16")
    encode = target.encode
    with pytest.raises(CacheError, match=r"reach \d.*beyond what float16 holds") as refusal:
        build_target(replace(target, encode=lambda fields: encode(fields) * 1e6))
    assert "latent.cache_dtype=bfloat16" in str(refusal.value.hint)


def test_latents_of_another_shape_than_announced_are_refused(tmp_path):
    target = toy_target(tmp_path)
    with pytest.raises(CacheError, match=r"latents of shape \(3, 5, 6, 2\) where \(3, 5, 6, 4\) are due"):
        build_target(replace(target, encode=lambda fields: target.encode(fields)[..., :2]))


def test_a_disk_too_small_is_noticed_before_anything_is_written(tmp_path):
    target = toy_target(tmp_path / "cache")
    huge = replace(target, rows=np.arange(1_000_000, dtype=np.int64), shape=(1000, 1000, 1000))
    with pytest.raises(CacheError, match=r"the train cache needs 3\.\d\d PiB .* of which 3\.\d\d PiB are missing"):
        build_target(huge)
    assert not target.path.exists()


def build_on_a_full_disk(folder: Path, said: Path) -> None:
    target = toy_target(folder)
    build_target(target, limit=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        build_target(target)
    except RunError as error:
        said.write_text(error.message)


def test_a_disk_that_fills_up_is_one_clear_message(tmp_path):
    said, folder = tmp_path / "said", tmp_path / "cache"
    fork(build_on_a_full_disk, folder, said).join()
    assert said.read_text().startswith("cannot write c.1.0.0.0: the file size limit is reached")
    target = toy_target(folder)
    assert examine(target).count(RowState.COMPLETE) == 1
    assert build_target(target).complete == 10
    assert not list(target.path.rglob("*.partial"))


def test_a_folder_that_cannot_be_written_to_is_one_clear_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        build_target(toy_target(tmp_path / "file"))
