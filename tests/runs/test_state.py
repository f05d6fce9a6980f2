import json
import os
import signal
import time
from dataclasses import replace

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.errors import RunError
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import Event, EventReader
from ups_engine.runs.events import KINDS, EventWriter
from ups_engine.runs.lease import Lease
from ups_engine.runs.owner import Owner
from ups_engine.runs.projection import RunProjection
from ups_engine.runs.state import StateReader, summarise

PLAN = {"stages": [{"name": "autoencoder", "epochs": 2}, {"name": "operator", "epochs": 3}]}


@pytest.fixture
def writer(run):
    with EventWriter(run.events) as writer:
        yield writer


@pytest.fixture
def owned(run):
    with Lease.acquire(run):
        yield run


def stages(state):
    return [(s.name, s.state, s.epoch, s.epochs, s.best) for s in state.stages]


def epoch(writer, stage, number, best):
    writer.emit("step", stage=stage, epoch=number, step=10 * number + 9, data={"loss": 1.0})
    writer.emit("epoch", stage=stage, epoch=number, step=10 * number + 10, data={"loss": 1.0, "best": best})


def test_a_run_from_its_beginning_to_its_end(owned, writer):
    assert summarise(owned).state == "waiting"
    writer.emit("run_started", data=PLAN)
    state = summarise(owned)
    assert (state.state, state.stage, state.last_event_seq) == ("running", None, 1)
    assert stages(state) == [("autoencoder", "waiting", 0, 2, None), ("operator", "waiting", 0, 3, None)]
    writer.emit("stage_started", stage="autoencoder", data={"epochs": 2})
    epoch(writer, "autoencoder", 0, 0.5)
    writer.emit("validation", stage="autoencoder", epoch=0, data={"score": 0.4, "best": 0.4})
    state = summarise(owned)
    assert state.stage == "autoencoder"
    assert stages(state)[0] == ("autoencoder", "running", 1, 2, 0.4)
    epoch(writer, "autoencoder", 1, None)
    writer.emit("stage_finished", stage="autoencoder", data={"best": 0.3, "seconds": 1.0})
    writer.emit("stage_skipped", stage="operator", data={"reason": "asked to"})
    writer.emit("run_finished", data={"outcome": "finished"})
    state = summarise(owned)
    assert (state.state, state.stage) == ("finished", None)
    assert stages(state) == [("autoencoder", "done", 2, 2, 0.3), ("operator", "skipped", 0, 3, None)]


def test_the_json_has_exactly_the_keys_of_the_contract(owned, writer):
    writer.emit("run_started", data=PLAN)
    value = json.loads(json.dumps(summarise(owned).to_json(), allow_nan=False))
    assert list(value) == ["run", "directory", "state", "stage", "stages", "last_event_seq", "lease"]
    assert list(value["stages"][0]) == ["name", "state", "epoch", "epochs", "best", "seconds"]
    assert value["directory"] == str(owned.path) and value["run"] == "one"
    assert value["lease"]["pid"] == os.getpid() and value["lease"]["alive"] is True


@pytest.mark.parametrize("outcome", ["parked", "stopped"])
def test_a_run_that_ended_before_its_time_waits_with_what_it_has(run, writer, outcome):
    writer.emit("run_started", data=PLAN)
    writer.emit("stage_started", stage="autoencoder", data={"epochs": 2})
    epoch(writer, "autoencoder", 0, 0.5)
    writer.emit("run_finished", data={"outcome": outcome})
    state = summarise(run)
    assert (state.state, state.stage) == (outcome, "autoencoder")
    assert stages(state)[0] == ("autoencoder", "waiting", 1, 2, 0.5)


def test_a_failed_run_says_why_and_can_go_on(owned, writer):
    writer.emit("run_started", data=PLAN)
    writer.emit("stage_started", stage="autoencoder", data={"epochs": 2})
    writer.emit("run_failed", data={"error": "loss is nan", "hint": "lower lr"})
    state = summarise(owned)
    assert (state.state, state.stage, state.error) == ("failed", "autoencoder", ("loss is nan", "lower lr"))
    assert stages(state)[0][1] == "failed"
    writer.emit("run_resumed", data={"after": "restart", "stage": "autoencoder", "epoch": 0, "step": 4})
    state = summarise(owned)
    assert (state.state, state.error, stages(state)[0][1]) == ("running", None, "running")


def test_a_pause_changes_the_state_and_keeps_what_there_is(owned, writer):
    writer.emit("run_started", data=PLAN)
    writer.emit("stage_started", stage="autoencoder", data={"epochs": 2})
    epoch(writer, "autoencoder", 0, 0.5)
    writer.emit("run_paused", stage="autoencoder")
    writer.emit("heartbeat")
    state = summarise(owned)
    assert (state.state, state.stages[0].state) == ("paused", "running")
    writer.emit("run_resumed", data={"after": "pause", "stage": "autoencoder", "epoch": 1, "step": 10})
    state = summarise(owned)
    assert state.state == "running"
    assert stages(state)[0] == ("autoencoder", "running", 1, 2, 0.5)


def test_the_clock_of_a_stage_leaves_out_pauses_and_times_without_a_process():
    story = [
        (100, "run_started", PLAN),
        (110, "stage_started", {"epochs": 2}),
        (114, "run_paused", {}),
        (120, "heartbeat", {}),
        (130, "run_resumed", {"after": "pause", "stage": "operator", "epoch": 0, "step": 5}),
        (133, "heartbeat", {}),
        (200, "run_resumed", {"after": "restart", "stage": "operator", "epoch": 0, "step": 3}),
        (202, "heartbeat", {}),
        (205, "stage_finished", {"best": 0.1, "seconds": 5}),
        (300, "heartbeat", {}),
    ]
    progress, seconds = RunProjection(), []
    for seq, (when, kind, data) in enumerate(story, 1):
        progress.add(Event(seq, when, kind, stage="operator" if kind.startswith("stage") else None, data=data))
        seconds.append(next(s.seconds for s in progress.stages(in_progress=True) if s.name == "operator"))
    assert seconds == [0, 0, 4, 4, 4, 7, 7, 9, 12, 12]


def test_what_lies_beyond_the_checkpoint_is_taken_back_on_resume(owned, writer):
    writer.emit("run_started", data=PLAN)
    writer.emit("stage_started", stage="autoencoder", data={"epochs": 2})
    writer.emit("stage_finished", stage="autoencoder", data={"best": 0.1, "seconds": 1})
    writer.emit("stage_started", stage="operator", data={"epochs": 3})
    for number, best in enumerate([0.9, 0.5, 0.2]):
        epoch(writer, "operator", number, best)
    writer.emit("stage_finished", stage="operator", data={"best": 0.2, "seconds": 1})
    writer.emit("run_resumed", data={"after": "restart", "stage": "operator", "epoch": 1, "step": 14})
    state = summarise(owned)
    assert stages(state) == [("autoencoder", "done", 0, 2, 0.1), ("operator", "running", 1, 3, 0.9)]
    writer.emit("run_resumed", data={"after": "restart", "stage": None, "epoch": None, "step": None})
    state = summarise(owned)
    assert stages(state)[1] == ("operator", "waiting", 0, 3, None) and state.stage is None


def test_a_plan_that_changed_on_resume_keeps_what_was_done(owned, writer):
    writer.emit("run_started", data=PLAN)
    writer.emit("stage_started", stage="autoencoder", data={"epochs": 2})
    writer.emit("stage_finished", stage="autoencoder", data={"best": 0.1, "seconds": 1})
    plan = [{"name": "operator", "epochs": 7}, {"name": "evaluation", "epochs": 1}]
    writer.emit("run_resumed", data={"after": "restart", "stage": None, "stages": plan})
    assert [(s.name, s.state, s.epochs) for s in summarise(owned).stages] == [
        ("autoencoder", "done", 2),
        ("operator", "waiting", 7),
        ("evaluation", "waiting", 1),
    ]


def test_a_killed_run_is_lost_and_its_stage_waits(run, python):
    code = """
        import sys, time
        from pathlib import Path
        from ups_engine.runs.directory import RunDirectory
        from ups_engine.runs.events import EventWriter, heartbeat
        from ups_engine.runs.lease import Lease
        run = RunDirectory(Path(sys.argv[1]))
        with Lease.acquire(run), EventWriter(run.events) as writer, heartbeat(writer, dict, 0.1):
            writer.emit("run_started", data={"stages": [{"name": "operator", "epochs": 3}]})
            writer.emit("stage_started", stage="operator", data={"epochs": 3})
            print("up", flush=True)
            time.sleep(60)
    """
    process = python(code, run.path)
    assert process.stdout.readline() == "up\n", process.stderr.read()
    state = summarise(run)
    assert (state.state, state.stages[0].state, state.lease.alive) == ("running", "running", True)
    process.send_signal(signal.SIGSTOP)  # silent, but there
    assert summarise(run).state == "running"
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = summarise(run)
    assert (state.state, state.stage, state.stages[0].state) == ("lost", "operator", "waiting")
    assert state.lease.pid == process.pid and not state.lease.alive


def test_a_silent_run_without_owner_is_lost_after_fifteen_seconds(run, writer):
    writer.emit("run_started", data=PLAN)
    assert summarise(run).state == "running"
    text = run.events.read_text()
    event = json.loads(text)
    run.events.write_text(text.replace(str(event["time"]), str(event["time"] - 14)))
    assert summarise(run).state == "running"
    run.events.write_text(text.replace(str(event["time"]), str(event["time"] - 16)))
    assert summarise(run).state == "lost"


def test_a_run_that_ends_while_it_is_looked_at_is_not_lost(run, writer, monkeypatch):
    writer.emit("run_started", data=PLAN)

    def owner_that_ends(*_, **__):
        writer.emit("run_failed", data={"error": "the disk is full"})
        return replace(Owner.this_process(), alive=False)

    monkeypatch.setattr("ups_engine.runs.state.owner_of", owner_that_ends)
    assert summarise(run).state == "failed"


def test_a_command_for_a_stage_that_is_not_planned_adds_none(run, writer):
    writer.emit("run_started", data=PLAN)
    writer.emit("command", stage="dinner", data={"id": "x", "command": "skip_stage", "outcome": "refused"})
    assert [stage.name for stage in summarise(run).stages] == ["autoencoder", "operator"]


def test_a_run_that_nobody_began_is_lost_after_a_minute(run):
    assert summarise(run).state == "waiting"
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**record, "created": record["created"] - 61}))
    assert summarise(run).state == "lost"


def test_another_machines_clock_does_not_matter_to_a_reader_that_watches(run, monkeypatch):
    run.write_owner(replace(Owner.this_process(), boot_id="another", host="node7"))
    clock = {"monotonic": 100.0}
    monkeypatch.setattr("ups_engine.runs.state.time.monotonic", lambda: clock["monotonic"])
    for skew in (-3600.0, 3600.0):

        def append(kind, skew=skew):
            line = {"seq": 1, "time": time.time() + skew, "kind": kind, "stage": None, "epoch": None, "step": None}
            with run.events.open("a") as file:
                file.write(json.dumps({**line, "data": PLAN}) + "\n")

        run.events.write_text("")
        append("run_started")
        reader = StateReader(run)
        reader.poll()
        clock["monotonic"] += 2
        append("heartbeat")
        assert reader.poll().state == "running"
        clock["monotonic"] += 14
        assert reader.poll().state == "running"
        clock["monotonic"] += 2
        assert reader.poll().state == "lost"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(["autoencoder", "operator"]), st.integers(0, 3)),
        max_size=25,
    ),
    st.lists(st.integers(1, 400), max_size=8),
)
def test_jumping_over_lines_and_reading_in_pieces_changes_nothing(tmp_path_factory, story, pieces):
    folder = tmp_path_factory.mktemp("run")
    lines = b""
    for seq, (kind, stage, number) in enumerate(story, 1):
        data = {"stages": PLAN["stages"], "stage": stage, "epoch": number, "best": number / 7, "outcome": "parked"}
        value = {"seq": seq, "time": float(seq), "kind": kind, "stage": stage, "epoch": number, "step": number}
        lines += json.dumps({**value, "data": data}, separators=(",", ":")).encode() + b"\n"
    (folder / "all.jsonl").write_bytes(lines)
    plain = RunProjection()
    for event in EventReader(folder / "all.jsonl", steps=True).events():
        plain.add(event)

    run = RunDirectory.create(folder, "one", settings_toml="", origins={}, argv=[], task="t")
    reader, at = StateReader(run), 0
    for piece in [*pieces, len(lines)]:
        run.events.write_bytes(lines[: at + piece])
        at += piece
        state = reader.poll()
    if plain.outcome not in (None, "running", "paused"):
        assert state.state == plain.outcome
    assert state.stages == plain.stages(in_progress=state.state in ("running", "paused"))
    assert (state.stage, state.planned, state.error) == (plain.current_stage, plain.planned, plain.error)
    assert (state.last_event_seq, state.last_heartbeat) == (plain.last_seq, plain.last_heartbeat)


def test_a_history_that_lost_its_end_is_read_anew(owned, writer):
    writer.emit("run_started", data=PLAN)
    short = owned.events.read_bytes()
    writer.emit("run_finished", data={"outcome": "finished"})
    reader = StateReader(owned)
    assert reader.poll().state == "finished"
    owned.events.write_bytes(short)
    state = reader.poll()
    assert (state.state, state.last_event_seq) == ("running", 1)


def test_a_hundred_megabytes_of_events_give_the_state_at_their_end(owned):
    step = (
        '{"seq":%d,"time":1732000000.123456,"kind":"step","stage":"operator","epoch":0,"step":%d,"data":{"loss":0.0012,'
        '"lr":0.001,"grad_norm":0.12,"components":{"forward":0.001,"rollout":0.002},"throughput":1234.5}}\n'
    )
    other = '{"seq":%d,"time":1732000001.5,"kind":"epoch","stage":"operator","epoch":%d,"step":9,"data":{"best":0.5}}\n'
    with owned.events.open("w") as file:
        seq = 0
        for number in range(1000):
            file.write("".join(step % (seq + i, seq + i) for i in range(1, 501)))
            seq += 501
            file.write(other % (seq, number))
    assert owned.events.stat().st_size > 95e6
    reader = StateReader(owned)
    state = reader.poll()
    assert (state.last_event_seq, state.stages[0].epoch) == (seq, 1000)
    before = psutil.Process().io_counters().read_chars
    reader.poll()
    assert psutil.Process().io_counters().read_chars - before < 1 << 20  # what is known is not read again
    owned.events.unlink()


def test_a_damaged_record_is_an_error_with_a_name(run):
    (run.path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json"):
        summarise(run)
