import math
import random
import shutil
import signal
import statistics
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from terminal import fork

from ups_engine.errors import CheckpointError
from ups_engine.runs.resume import ResumeStore


def save_for_ever(path, said):
    """Go on from the newest state, and say each step that is safe."""
    store = ResumeStore(path)
    found = store.load()
    step = found[1]["step"] if found else 0
    assert found is None or torch.equal(found[0]["w"], torch.full((50_000,), float(step)))
    with said.open("w", buffering=1) as lines:
        print(step, file=lines)
        while True:
            step += 1
            store.save({"w": torch.full((50_000,), float(step))}, {"step": step})
            print(step, file=lines)


@pytest.fixture
def store(tmp_path):
    return ResumeStore(tmp_path / "resume")


def save(store, step):
    return store.save({"w": torch.full((100,), float(step))}, {"step": step})


def step_of(found):
    tensors, state = found
    assert torch.equal(tensors["w"], torch.full((100,), float(state["step"])))
    return state["step"]


def folders(store):
    return sorted(path.name for path in store.path.iterdir())


def test_the_newest_state_comes_back_and_two_are_kept(store):
    assert store.load() is None
    assert [save(store, step) for step in range(1, 6)] == [1, 2, 3, 4, 5]
    assert folders(store) == ["000004", "000005"]
    assert step_of(store.load()) == 5
    assert step_of(ResumeStore(store.path).load()) == 5 and store.damaged == ()
    store.clear()
    assert folders(store) == [] and store.load() is None


def test_a_state_of_the_generator_and_of_numbers_is_exact(store):
    generator = torch.Generator().manual_seed(3)
    torch.rand(7, generator=generator)
    state = {
        "best": math.inf,
        "worst": -math.inf,
        "floats": [0.1, 5e-324, 1.7976931348623157e308, -0.0],
        "large": 2**80,
        "nested": {"none": None, "yes": True, "text": "ü\n"},
    }
    store.save({"rng": generator.get_state(), "w": torch.tensor(1.0, dtype=torch.float64)}, state)
    tensors, loaded = store.load()
    assert loaded == state and math.copysign(1, loaded["floats"][3]) == -1
    other = torch.Generator()
    other.set_state(tensors["rng"])
    assert torch.equal(torch.rand(5, generator=other), torch.rand(5, generator=generator))
    store.save({}, {"lost": math.nan})
    tensors, loaded = store.load()
    assert tensors == {} and math.isnan(loaded["lost"])


@pytest.mark.parametrize("state", [{"a": {1: 2}}, {"a": object()}, {"$float": "inf"}, {"a": torch.zeros(1)}])
def test_a_state_that_would_not_come_back_is_a_programming_error(store, state):
    with pytest.raises(TypeError):
        store.save({}, state)
    assert store.load() is None


DAMAGES = {
    "truncate": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "flip": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 4]) + path.read_bytes()[1:]),
    "empty": lambda path: path.write_bytes(b""),
    "remove": lambda path: path.unlink(),
}


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_falls_back_to_the_one_before_and_says_so(store, file, damage):
    save(store, 1)
    save(store, 2)
    DAMAGES[damage](store.path / "000002" / file)
    assert step_of(store.load()) == 1
    assert len(store.damaged) == 1 and "000002" in store.damaged[0] and file in store.damaged[0]
    assert save(store, 3) == 3
    assert folders(store) == ["000001", "000003"]  # the sound one is the spare, not the damaged one
    assert step_of(store.load()) == 3 and store.damaged == ()


def test_with_no_sound_state_nothing_begins_anew_by_itself(store):
    save(store, 1)
    DAMAGES["empty"](store.path / "000001" / "manifest.json")
    with pytest.raises(CheckpointError, match=r"no resumable state .* is sound") as caught:
        store.load()
    assert "begin the stage anew" in caught.value.hint


def test_what_killed_writers_left_is_neither_read_nor_kept(store):
    save(store, 1)
    shutil.copytree(store.path / "000001", store.path / ".filling-2")
    shutil.copytree(store.path / "000001", store.path / ".removing-0")
    assert step_of(store.load()) == 1
    save(store, 2)
    assert folders(store) == ["000001", "000002"]
    (store.path / ".filling-3").mkdir()
    store.clear()
    assert folders(store) == []


def test_a_store_killed_at_random_moments_always_goes_on_from_what_it_last_promised(tmp_path, until):
    chance, said = random.Random(5), tmp_path / "said"
    promised = 0
    for _ in range(4):
        said.unlink(missing_ok=True)
        process = fork(save_for_ever, tmp_path / "resume", said)
        until(lambda process=process: process.exitcode is not None or (said.exists() and "\n" in said.read_text()))
        time.sleep(chance.uniform(0.0, 0.15))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        first, *rest = map(int, said.read_text().splitlines())
        assert first in (promised, promised + 1)  # killed between the rename and the word about it
        promised = [first, *rest][-1]
    assert promised > 4


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["save", "reopen", "damage", "leftover", "clear"]), max_size=12))
def test_whatever_happens_the_newest_sound_state_is_loaded(tmp_path_factory, story):
    store = ResumeStore(tmp_path_factory.mktemp("s") / "resume")
    step, sound = 0, []
    for act in story:
        if act == "save":
            step += 1
            number = save(store, step)
            sound = [*sound, (number, step)][-2:]
        elif act == "reopen":
            store = ResumeStore(store.path)
        elif act == "damage" and len(sound) == 2:
            DAMAGES["truncate"](store.path / f"{sound[-1][0]:06d}" / "state.json")
            sound = sound[:1]
        elif act == "leftover":
            (store.path / ".filling-9").mkdir(parents=True, exist_ok=True)
        elif act == "clear":
            store.clear()
            sound = []
        found = store.load()
        assert (found and step_of(found)) == (sound[-1][1] if sound else None)


def test_a_full_disk_keeps_the_states_before(store, on_a_full_disk):
    save(store, 1)
    said = on_a_full_disk(lambda: store.save({"w": torch.zeros(9000)}, {}))
    assert str(store.path) in said and "free some space" in said
    assert folders(store) == ["000001"] and step_of(store.load()) == 1


def test_a_state_of_twenty_megabytes_is_saved_in_a_moment(store):
    tensors = {f"w{i}": torch.randn(500_000) for i in range(10)}
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        store.save(tensors, {"step": 1})
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.3, seconds
