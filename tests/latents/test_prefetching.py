"""Prefetched batches are the same bits, mend and raise in the caller's thread, and leave no thread behind."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_cache import FRAMES, toy_latents, toy_target

from ups_engine.data.pairs import LatentPairs
from ups_engine.latents.building.completion import build_target
from ups_engine.latents.reading.buffers import BatchBuffers
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.reading.prefetching import PrefetchedSequence
from ups_engine.latents.store import LatentStore

CPU = torch.device("cpu")


def samples(n):
    random = np.random.default_rng(0)
    return random.integers(0, 10, n), random.integers(0, FRAMES - 2, n)


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("latents-prefetch")]


@pytest.fixture
def opened(tmp_path):
    target = toy_target(tmp_path, dtype="float16")
    build_target(target)
    reader = open_latents(target, "disk", CPU)
    yield target, reader
    reader.close()


@pytest.mark.parametrize(
    "taken",
    [
        [(0, 8, 1), (8, 8, 1), (16, 8, 1), (24, 6, 1)],  # in order, to the end
        [(16, 4, 1), (20, 4, 1)],  # resumed within
        [(0, 6, 1), (6, 6, 1), (12, 4, 1), (16, 6, 1), (22, 6, 2), (28, 2, 2)],  # other sizes, a longer horizon
        [(8, 8, 1), (0, 8, 1), (0, 8, 1)],  # not in order
    ],
)
def test_batches_prefetched_have_the_bits_of_gathered_ones(opened, taken):
    target, reader = opened
    rows, frames = samples(30)
    sequence, latents = reader.sequence(rows, frames), toy_latents(target)
    batches = [sequence.take(*wanted) for wanted in taken]  # all held, so that none may be written over
    for (first, count, horizon), batch in zip(taken, batches, strict=True):
        part = range(first, first + count)
        expected = torch.stack([latents[rows[i], frames[i] : frames[i] + horizon + 1] for i in part])
        assert torch.equal(batch, expected)


def test_the_next_batch_is_made_while_this_one_is_used(opened):
    _, reader = opened
    asked, prefetched = [], threading.Semaphore(0)

    def gather(rows, frames, horizon):
        asked.append(("now", threading.current_thread(), list(rows)))
        return reader.gather(rows, frames, horizon)

    def prefetch(rows, frames, horizon):
        asked.append(("prefetched", threading.current_thread(), list(rows)))
        prefetched.release()
        return reader.prefetch(rows, frames, horizon)

    rows, frames = samples(12)
    with ThreadPoolExecutor(1) as worker:
        sequence = PrefetchedSequence(gather, prefetch, CPU, rows, frames, worker)
        sequence.take(0, 4, 1)
        assert prefetched.acquire(timeout=10) and prefetched.acquire(timeout=10)  # with nothing taken yet
        for first in (4, 8):
            sequence.take(first, 4, 1)
    assert [(when, numbers) for when, _, numbers in asked] == [
        ("now", list(rows[:4])),
        ("prefetched", list(rows[4:8])),
        ("prefetched", list(rows[8:])),
    ]
    assert asked[0][1] is threading.current_thread() and asked[1][1] is not threading.current_thread()


def test_damage_met_prefetching_is_mended_in_the_thread_that_asks(tmp_path):
    target, said = toy_target(tmp_path), []
    build_target(target)
    chunk = LatentStore(target.path, target.layout).chunk(4)
    content = bytearray(chunk.read_bytes())
    content[9] ^= 1
    chunk.write_bytes(content)
    reader = open_latents(target, "disk", CPU, lambda sentence: said.append((threading.current_thread(), sentence)))
    rows = np.array([0, 1, 4, 5])
    sequence = reader.sequence(rows, np.zeros(4, np.int64))
    sequence.take(0, 2, 1)
    assert torch.equal(sequence.take(2, 2, 1), toy_latents(target)[[4, 5], :2])
    assert [thread for thread, _ in said] == [threading.current_thread()]
    reader.close()


def test_an_error_met_prefetching_is_raised_by_the_batch_that_has_it(opened):
    _, reader = opened
    sequence = reader.sequence(np.array([0, 1, 2, 10]), np.zeros(4, np.int64))
    sequence.take(0, 2, 1)
    with pytest.raises(IndexError):
        sequence.take(2, 2, 1)
    sequence.take(0, 2, 1)
    assert torch.equal(sequence.take(1, 2, 1), reader.gather(np.array([1, 2]), np.array([0, 0]), 1))


def test_closing_ends_the_thread(opened):
    _, reader = opened
    before = len(threads())
    rows, frames = samples(20)
    reader.sequence(rows, frames).take(0, 4, 1)
    assert len(threads()) == before + 1
    reader.close()
    assert len(threads()) == before


@pytest.mark.parametrize("choice", ["ram", "gpu"])
def test_where_memory_is_as_near_as_it_gets_batches_are_gathered_when_they_are_taken(tmp_path, choice):
    target = toy_target(tmp_path)
    build_target(target)
    rows, frames = samples(30)
    reader, before = open_latents(target, choice, CPU), threading.active_count()
    sequence = reader.sequence(rows, frames)
    for first, count, horizon in ((0, 8, 1), (8, 8, 2), (4, 3, 0), (24, 6, 1)):
        part = slice(first, first + count)
        expected = reader.gather(rows[part], frames[part], horizon)
        assert torch.equal(sequence.take(first, count, horizon), expected)
    assert threading.active_count() == before
    reader.close()


def test_pairs_take_a_slice_of_what_was_announced_by_its_position_and_gather_any_other():
    taken, gathered = [], []

    class Latents:
        def sequence(self, rows, frames):
            return self

        def take(self, first, count, horizon):
            taken.append((first, count, horizon))
            return torch.zeros(count, 1 + horizon, 1, 1)

        def gather(self, rows, frames, horizon):
            gathered.append(len(rows))
            return torch.zeros(len(rows), 1 + horizon, 1, 1)

    dataset = SimpleNamespace(
        task="toy",
        frames=6,
        dt=0.1,
        grid=SimpleNamespace(shape=(8,)),
        splits=SimpleNamespace(of=lambda split: np.arange(4)),
        parameters=lambda rows: np.zeros((len(rows), 1), np.float32),
    )
    pairs, whole = LatentPairs(Latents(), dataset, "train", 2), torch.arange(16)
    pairs.announce(whole)
    pairs.batch(whole[4:9], horizon=1)
    pairs.batch(whole[4:][2:6])
    assert taken == [(4, 5, 1), (6, 4, 2)] and not gathered
    for other in (torch.arange(16)[4:9], whole[::2], np.arange(4)):
        pairs.batch(other)
    assert len(taken) == 2 and gathered == [5, 8, 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_memory_of_a_batch_is_used_again_only_when_no_view_is_left(dtype):
    buffers = BatchBuffers(locked=False)
    first = buffers.take((3, 50), dtype)
    assert first.shape == (3, 50) and first.dtype == dtype
    place, view = first.data_ptr(), first[1:, 10:].t()
    del first
    assert buffers.take((3, 50), dtype).data_ptr() != place
    del view
    assert place in [buffers.take((2, 60), dtype).data_ptr()]
    held = [buffers.take((3, 50), dtype) for _ in range(9)]  # more than are kept
    assert len({batch.data_ptr() for batch in held}) == 9


@pytest.mark.gpu
def test_batches_on_a_gpu_prefetched_have_the_same_bits(tmp_path):
    target = toy_target(tmp_path, dtype="bfloat16")
    build_target(target)
    rows, frames = (np.tile(part, 200) for part in samples(30))
    plain = open_latents(target, "ram", CPU).gather(rows, frames, 1)
    for choice in ("ram", "disk"):
        reader = open_latents(target, choice, torch.device("cuda", 0))
        sequence = reader.sequence(rows, frames)
        for _ in range(3):
            batches = [2 * sequence.take(first, 60, 1) for first in range(0, 6000, 60)]
            assert torch.equal(torch.cat(batches).cpu(), 2 * plain)
        reader.close()
    assert not threads()
