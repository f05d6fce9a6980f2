import json
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.errors import RunError
from ups_engine.runs.event_file import EventReader, find_last, recent_events
from ups_engine.runs.events import KINDS, EventWriter, heartbeat

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(KINDS - {"step"})),
        TEXT,
        st.none() | st.integers(0, 10**6),
        st.dictionaries(TEXT, JSON, max_size=3),
    ),
    max_size=6,
)


def write(path, events):
    with EventWriter(path) as writer:
        for kind, stage, epoch, data in events:
            writer.emit(kind, stage=stage, epoch=epoch, step=epoch, data=data)


def read(path):
    return list(EventReader(path, steps=True).events())


def seqs(path):
    return [json.loads(line)["seq"] for line in path.read_bytes().splitlines()]


def test_a_line_has_the_keys_of_the_contract_in_order(tmp_path):
    with EventWriter(tmp_path / "e") as writer:
        writer.emit("stage_started", stage="operator", data={"epochs": 3})
        writer.emit("warning", data={"message": "zwei\nZeilen"})
    lines = (tmp_path / "e").read_text().splitlines()
    first = json.loads(lines[0])
    assert list(first) == ["seq", "time", "kind", "stage", "epoch", "step", "data"]
    assert abs(first["time"] - time.time()) < 60
    assert {**first, "time": 0} == {
        "seq": 1,
        "time": 0,
        "kind": "stage_started",
        "stage": "operator",
        "epoch": None,
        "step": None,
        "data": {"epochs": 3},
    }
    assert len(lines) == 2


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.data())
def test_what_was_written_is_read_back_from_any_torn_prefix(tmp_path_factory, events, data):
    path = tmp_path_factory.mktemp("e") / "events.jsonl"
    write(path, events)
    begins = ("run_started", "run_resumed")
    events = [(*event[:3], {**event[3], "format": 1} if event[0] in begins else event[3]) for event in events]
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    count = whole[:cut].count(b"\n")
    reader = EventReader(path, steps=True)
    found = list(reader.events())
    assert [(e.kind, e.stage, e.epoch, e.data) for e in found] == events[:count]
    assert [e.seq for e in found] == list(range(1, count + 1))
    path.write_bytes(whole)  # the writer gets on
    rest = list(reader.events())
    assert [(e.kind, e.stage, e.epoch, e.data) for e in rest] == events[count:]
    assert reader.offset == len(whole) and list(reader.events()) == []


@settings(max_examples=60, deadline=None)
@given(EVENTS, EVENTS, st.data())
def test_a_resumed_history_has_no_gap_and_no_torn_line(tmp_path_factory, before, after, data):
    path = tmp_path_factory.mktemp("e") / "events.jsonl"
    write(path, before)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    write(path, after)
    kept = whole[:cut].count(b"\n")
    assert seqs(path) == list(range(1, kept + len(after) + 1))
    assert [e.kind for e in read(path)] == [e[0] for e in before[:kept] + after]


@given(st.lists(st.binary(max_size=80) | st.sampled_from([b'{"seq":1}', b"[]", b"null", b"\0" * 9]), max_size=4))
@settings(max_examples=60, deadline=None)
def test_lines_that_are_no_events_are_passed_over(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("e") / "events.jsonl"
    write(path, [("warning", "s", None, {})])
    lines = [line.replace(b"\n", b"") for line in junk]
    path.write_bytes(path.read_bytes() + b"".join(line + b"\n" for line in lines))
    write(path, [("warning", "s", None, {})])
    assert [e.seq for e in read(path)] == [1, 2]
    assert path.read_bytes().count(b"\n") == 2 + len(junk)  # whole lines are never taken away


def test_zeros_that_a_power_cut_left_are_cut(tmp_path):
    path = tmp_path / "e"
    write(path, [("warning", None, None, {})])
    path.write_bytes(path.read_bytes() + b"\0" * 5000)
    write(path, [("warning", None, None, {})])
    assert seqs(path) == [1, 2]
    path.write_bytes(b"\0" * 100)
    write(path, [("warning", None, None, {})])
    assert seqs(path) == [1]


def test_the_last_event_is_found_behind_a_very_long_torn_line(tmp_path):
    path = tmp_path / "e"
    write(path, [("warning", None, None, {"message": "x" * 200_000})] * 3)
    path.write_bytes(path.read_bytes() + b'{"seq":4,' + b"y" * 300_000)
    assert find_last(path)[0].seq == 3
    write(path, [("warning", None, None, {})])
    assert seqs(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"my notes\n", b"my notes", b'{"other": 1}\n{"other": 2}\n'])
def test_a_file_of_somebody_else_is_refused_untouched(tmp_path, content):
    (tmp_path / "e").write_bytes(content)
    with pytest.raises(RunError, match="no history of a run"):
        EventWriter(tmp_path / "e")
    assert (tmp_path / "e").read_bytes() == content


def test_events_that_the_page_does_not_know_are_programming_errors(tmp_path):
    with EventWriter(tmp_path / "e") as writer:
        with pytest.raises(ValueError, match="unknown kind"):
            writer.emit("stage_start", stage="operator")
        with pytest.raises(ValueError, match="needs its stage"):
            writer.emit("epoch", epoch=1)
        with pytest.raises(TypeError):
            writer.emit("warning", data={"message": object()})
        writer.emit("warning")
    assert seqs(tmp_path / "e") == [1]


def test_numbers_json_has_no_word_for_are_null(tmp_path):
    with EventWriter(tmp_path / "e") as writer:
        writer.emit("epoch", stage="operator", data={"loss": float("nan"), "components": {"a": [float("inf"), 1.0]}})
    value = json.loads((tmp_path / "e").read_text(), parse_constant=pytest.fail)
    assert value["data"] == {"loss": None, "components": {"a": [None, 1.0]}}


def test_steps_come_at_most_ten_a_second_and_the_last_is_kept(tmp_path):
    with EventWriter(tmp_path / "e") as writer:
        end = time.monotonic() + 1.5
        step = 0
        while time.monotonic() < end:
            step += 1
            writer.emit("step", stage="operator", epoch=0, step=step)
            time.sleep(0.001)
        writer.emit("epoch", stage="operator", epoch=0, step=step)
        for step_after in range(step + 1, step + 4):
            writer.emit("step", stage="operator", epoch=1, step=step_after)
        writer.emit("heartbeat")
    events = read(tmp_path / "e")
    steps = [e for e in events if e.kind == "step"]
    assert 13 <= len(steps) <= 17
    for first, eleventh in zip(steps, steps[10:], strict=False):
        assert eleventh.time - first.time > 0.85  # emitted a moment before they are written
    at = next(i for i, e in enumerate(events) if e.kind == "epoch")
    assert events[at - 1].kind == "step" and events[at - 1].step == step
    assert [e.time for e in events] == sorted(e.time for e in events)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))


def test_threads_share_a_writer_without_tearing_lines(tmp_path):
    with EventWriter(tmp_path / "e") as writer:

        def work(number):
            for i in range(40):
                writer.emit("heartbeat", data={"thread": number, "i": i, "pad": "x" * 500})

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = read(tmp_path / "e")
    assert [e.seq for e in events] == list(range(1, 241))
    for n in range(6):
        assert [e.data["i"] for e in events if e.data["thread"] == n] == list(range(40))


def test_a_full_disk_leaves_the_history_whole_and_the_writer_usable(tmp_path):
    code = """
        import resource, sys
        from pathlib import Path
        from ups_engine.errors import RunError
        from ups_engine.runs.events import EventWriter
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        writer = EventWriter(Path(sys.argv[1]))
        writer.emit("warning", data={"message": "first"})
        resource.setrlimit(resource.RLIMIT_FSIZE, (150, hard))
        try:
            writer.emit("warning", data={"message": "x" * 500})
        except RunError as error:
            print(error.message)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        writer.emit("warning", data={"message": "third"})
    """
    path = tmp_path / "events.jsonl"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True)
    assert "events.jsonl" in done.stdout and str(tmp_path) in done.stdout, done.stderr
    assert [(e.seq, e.data["message"]) for e in read(path)] == [(1, "first"), (2, "third")]


def test_killed_writers_leave_a_history_without_a_gap(tmp_path, python):
    path = tmp_path / "events.jsonl"
    code = """
        import sys
        from pathlib import Path
        from ups_engine.runs.events import EventWriter
        writer = EventWriter(Path(sys.argv[1]))
        writer.emit("run_resumed", data={"stage": None})
        print(flush=True)
        while True:
            writer.emit("heartbeat", data={"pad": "x" * 3000})
            writer.emit("command", data={"id": "y"})
    """
    chance = random.Random(3)
    for _ in range(6):
        process = python(code, path)
        process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        with path.open("ab") as file:  # as if the kill had hit the middle of a write
            file.write(b'{"seq":99999,"time":1.0,"ki'[: chance.randrange(27)])
    EventWriter(path).close()
    found = seqs(path)
    assert found == list(range(1, len(found) + 1))
    assert sum(e.kind == "run_resumed" for e in read(path)) == 6


def test_recent_events_are_the_last_without_steps_and_heartbeats(tmp_path):
    path = tmp_path / "e"
    with EventWriter(path) as writer:
        for epoch in range(5):
            writer.emit("heartbeat", data={"kind": "nested"})
            writer.emit("epoch", stage="operator", epoch=epoch, data={"kind": "step"})
    assert [e.epoch for e in recent_events(path, 3)] == [2, 3, 4]
    assert recent_events(tmp_path / "absent", 3) == []


def test_an_absent_history_is_empty_and_nothing_is_made(tmp_path):
    assert read(tmp_path / "e") == []
    assert find_last(tmp_path / "e") == (None, 0)
    assert list(tmp_path.iterdir()) == []


def test_the_heart_beats_at_once_regularly_and_through_failures(tmp_path):
    calls = []

    def sample():
        calls.append(time.monotonic())
        if len(calls) == 2:
            raise OSError("sensor gone")
        return {"ram_bytes": len(calls)}

    with EventWriter(tmp_path / "e") as writer, heartbeat(writer, sample, interval=0.05):
        time.sleep(0.33)
    events = read(tmp_path / "e")
    assert 3 <= len(events) <= 7
    assert all(e.kind == "heartbeat" and e.stage is None for e in events)
    assert events[0].data == {"ram_bytes": 1} and events[1].data == {"error": "OSError: sensor gone"}
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())
