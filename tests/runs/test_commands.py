import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.runs.commands import COMMAND_KINDS, Inbox, send
from ups_engine.runs.events import EventWriter
from ups_engine.runs.ulid import is_ulid, new_ulid


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_ids_sort_by_the_time_of_making_and_never_repeat():
    ids = [new_ulid() for _ in range(5000)]
    assert ids == sorted(set(ids)) and all(is_ulid(x) for x in ids)
    assert not is_ulid(ids[0].lower()) and not is_ulid("8" + ids[0][1:]) and not is_ulid(ids[0][1:])


def test_a_command_is_a_file_of_the_contract(run):
    identity = send(run, "skip_stage", stage="operator")
    assert names(run.commands) == [f"{identity}.json"]
    value = json.loads((run.commands / f"{identity}.json").read_text())
    assert list(value) == ["id", "kind", "stage", "time"]
    assert (value["id"], value["kind"], value["stage"]) == (identity, "skip_stage", "operator")


def test_commands_are_taken_in_the_order_sent_and_wait_until_done(run):
    sent = [send(run, kind, stage="operator") for kind in COMMAND_KINDS]
    inbox = Inbox(run)
    commands = inbox.poll()
    assert [c.id for c in commands] == sent and [c.kind for c in commands] == list(COMMAND_KINDS)
    inbox.done(commands[0])
    inbox.done(commands[0])
    assert [c.id for c in inbox.poll()] == sent[1:]
    assert [c.id for c in Inbox(run).poll()] == sent[1:]
    assert names(run.commands / "done") == [f"{sent[0]}.json"]


def test_commands_sent_by_several_processes_at_once_all_arrive(run):
    code = (
        "import sys; from pathlib import Path; from ups_engine.runs.directory import RunDirectory\n"
        "from ups_engine.runs.commands import send\n"
        "[print(send(RunDirectory(Path(sys.argv[1])), 'pause')) for _ in range(20)]"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    inbox, got = Inbox(run), []
    while any(process.poll() is None for process in started) or not got:
        for command in inbox.poll():
            got.append(command.id)
            inbox.done(command)
    got += [command.id for command in inbox.poll()]
    sent = [line for process in started for line in process.communicate()[0].split()]
    assert sorted(got) == sorted(sent) and len(sent) == 60


def test_a_command_that_makes_no_sense_is_not_sent(run):
    with pytest.raises(ValueError, match="explode"):
        send(run, "explode")
    with pytest.raises(ValueError, match="which stage"):
        send(run, "start_stage")
    assert names(run.commands) == []


def put(run, text, name=None, **changes):
    identity = new_ulid()
    value = {"id": identity, "kind": "pause", "stage": None, "time": 1.0, **changes}
    path = run.commands / (name or f"{identity}.json")
    path.write_text(json.dumps(value) if text is None else text)
    return path.name


def test_what_is_no_command_is_put_aside_with_the_reason(run):
    good = send(run, "pause")
    identity = new_ulid()
    reasons = {
        put(run, "{"): "cannot be read",
        put(run, "[1]"): "not a JSON object",
        put(run, None, kind="explode"): "explode",
        put(run, None, kind=["pause"]): "none of",
        put(run, None, kind="start_stage"): "which stage",
        put(run, None, stage=3): "stage is not a name",
        put(run, None, time="now"): "time",
        put(run, None, time=10**400): "time",
        put(run, None, id="../../x"): "its id",
        put(run, None, name="hello.json"): "its id",
        put(run, None, name=f"{identity}.json"): "its id",
        put(run, " " * 70_000): "too many",
        put(run, "[" * 60_000): "cannot be read",
    }
    os.mkfifo(run.commands / "pipe.json")
    (run.commands / "folder.json").mkdir()
    (run.commands / "loop.json").symlink_to("loop.json")
    inbox = Inbox(run)
    assert [c.id for c in inbox.poll()] == [good]
    rejected = run.commands / "rejected"
    for name, reason in reasons.items():
        assert (rejected / name).exists()
        assert reason in (rejected / f"{name}.reason.txt").read_text()
    assert {"pipe.json", "folder.json", "loop.json"} <= set(names(rejected))
    assert names(run.commands) == sorted([f"{good}.json", "rejected"])
    assert [c.id for c in inbox.poll()] == [good]


def test_files_still_being_written_are_left_alone(run):
    (run.commands / ".01H.json.abc.tmp").write_text("{")
    (run.commands / "01H.json.tmp").write_text("{")
    assert Inbox(run).poll() == []
    assert names(run.commands) == [".01H.json.abc.tmp", "01H.json.tmp"]


def test_junk_that_cannot_be_moved_does_not_stop_the_run(run):
    (run.commands / "rejected").write_text("a file in the way")
    put(run, "{")
    good = send(run, "stop")
    inbox = Inbox(run)
    for _ in range(2):
        assert [c.id for c in inbox.poll()] == [good]


def test_a_command_acknowledged_before_a_kill_is_not_obeyed_twice(run):
    first, second = send(run, "park"), send(run, "pause")
    with EventWriter(run.events) as writer:
        writer.emit("command", data={"id": first, "command": "park", "outcome": "done"})
        writer.emit("command", data={"id": "../../../etc/passwd", "command": "park", "outcome": "done"})
    assert [c.id for c in Inbox(run).poll()] == [second]
    assert names(run.commands / "done") == [f"{first}.json"]


def test_an_inbox_that_was_removed_is_empty_and_can_be_sent_to(run):
    run.commands.rmdir()
    inbox = Inbox(run)
    assert inbox.poll() == []
    identity = send(run, "stop")
    assert [c.id for c in inbox.poll()] == [identity]


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda t: json.dumps({"id": t, "kind": t}).encode()))
def test_no_content_whatever_stops_the_inbox(tmp_path_factory, content):
    class Run:
        path = tmp_path_factory.mktemp("run")
        commands = path / "commands"
        events = path / "events.jsonl"

    Run.commands.mkdir()
    (Run.commands / f"{new_ulid()}.json").write_bytes(content)
    assert Inbox(Run()).poll() == []
    assert len(names(Run.commands / "rejected")) == 2


def test_an_idle_poll_costs_next_to_nothing(run):
    inbox = Inbox(run)
    inbox.poll()
    start = time.perf_counter()
    for _ in range(200):
        inbox.poll()
    assert (time.perf_counter() - start) / 200 < 0.001
