import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from ups_engine.errors import RunError
from ups_engine.runs.events import EventWriter
from ups_engine.runs.lease import Lease, owner_of
from ups_engine.runs.locks import is_locked
from ups_engine.runs.owner import Owner, boot_id, start_time

HOLD = """
    import sys, time
    from pathlib import Path
    from ups_engine.runs.directory import RunDirectory
    from ups_engine.runs.lease import Lease
    with Lease.acquire(RunDirectory(Path(sys.argv[1])), ranks=2):
        {do}
        print("holding", flush=True)
        sys.stdin.readline()
"""


def hold(python, run, do="pass"):
    process = python(HOLD.format(do=do), run.path)
    line = process.stdout.readline()
    assert line == "holding\n", process.stderr.read()
    return process


def test_the_owner_is_entered_and_taken_out_again(run):
    assert owner_of(run) is None
    with Lease.acquire(run, ranks=4):
        owner = owner_of(run)
        assert (owner.pid, owner.ranks, owner.alive) == (os.getpid(), 4, True)
        assert (owner.start_time, owner.boot_id, owner.host) == (
            start_time(os.getpid()),
            boot_id(),
            os.uname().nodename,
        )
        written = json.loads((run.path / "run.json").read_text())["owner"]
        assert set(written) == {"pid", "start_time", "boot_id", "host", "ranks"}
    assert owner_of(run) is None
    with Lease.acquire(run):
        pass


def test_a_second_owner_is_refused_with_pid_and_host(run, python):
    process = hold(python, run)
    before = (run.path / "run.json").read_bytes()
    with pytest.raises(RunError, match=f"pid {process.pid} on {os.uname().nodename}") as caught:
        Lease.acquire(run)
    assert "ups runs stop one" in caught.value.hint
    assert (run.path / "run.json").read_bytes() == before
    owner = owner_of(run)
    assert owner.alive and owner.pid == process.pid and owner.ranks == 2


def test_a_process_refuses_itself_and_keeps_its_lock(run, python):
    with Lease.acquire(run):
        with pytest.raises(RunError, match=f"pid {os.getpid()}"):
            Lease.acquire(run)
        for _ in range(3):
            assert owner_of(run).alive
        other = python(HOLD.format(do="pass"), run.path)
        assert other.stdout.readline() == ""  # refused: neither attempt released the lock
        assert f"pid {os.getpid()}" in other.stderr.read()


def test_of_many_at_once_exactly_one_gets_the_run(run, python):
    processes = [python(HOLD.format(do="pass"), run.path) for _ in range(4)]
    results = [None] * 4
    deadline = time.monotonic() + 20
    while results.count(None) > 1 and time.monotonic() < deadline:
        results = [process.poll() for process in processes]
        time.sleep(0.02)
    assert results.count(None) == 1 and set(results) == {None, 1}
    assert owner_of(run).pid == processes[results.index(None)].pid


def test_the_lease_dies_with_a_killed_process_at_once(run, python):
    process = hold(python, run)
    process.send_signal(signal.SIGKILL)
    process.wait()
    owner = owner_of(run)
    assert owner.pid == process.pid and not owner.alive
    with Lease.acquire(run):
        assert owner_of(run).pid == os.getpid()


def test_children_of_the_owner_do_not_keep_the_lease(run, python):
    do = (
        "import os, subprocess; child = subprocess.Popen(['sleep', '60'], close_fds=False); fork = os.fork()\n"
        "        if not fork: time.sleep(60)\n"
        "        print(child.pid, fork)"
    )
    process = python(HOLD.format(do=do), run.path)
    children = [int(pid) for pid in process.stdout.readline().split()]
    assert process.stdout.readline() == "holding\n"
    try:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert all(start_time(pid) is not None for pid in children)
        assert not owner_of(run).alive
        Lease.acquire(run).release()
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_does_not_release_for_its_parent(run):
    with Lease.acquire(run) as held:
        pid = os.fork()
        if pid == 0:
            held.release()
            os._exit(0 if owner_of(run).alive else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert owner_of(run).pid == os.getpid()


def test_a_zombie_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, not collected
    assert start_time(process.pid) is None
    process.wait()


def test_another_process_with_the_owners_pid_is_not_the_owner(run):
    me = Owner.this_process()
    process = subprocess.Popen(["sleep", "60"])
    try:
        real = replace(me, pid=process.pid, start_time=start_time(process.pid))
        run.write_owner(real)
        assert owner_of(run).alive  # it lives, though its lock was lost
        with pytest.raises(RunError, match=f"pid {process.pid}"):
            Lease.acquire(run)
        run.write_owner(replace(real, start_time=real.start_time - 1))
        assert not owner_of(run).alive
    finally:
        process.kill()
        process.wait()
    Lease.acquire(run).release()


def test_an_owner_on_another_machine_lives_as_long_as_it_beats(run):
    elsewhere = replace(Owner.this_process(), boot_id="another", host="node7")
    run.write_owner(elsewhere)
    assert not owner_of(run).alive  # not one event
    with EventWriter(run.events) as writer:
        writer.emit("heartbeat")
    assert owner_of(run).alive
    with pytest.raises(RunError, match="on node7"):
        Lease.acquire(run)
    assert not owner_of(run, silence=15.1).alive
    event = json.loads(run.events.read_text())
    run.events.write_text(json.dumps({**event, "time": event["time"] - 16}) + "\n")
    assert not owner_of(run).alive
    Lease.acquire(run).release()


def test_without_file_locks_the_record_and_the_heartbeat_decide(run, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with Lease.acquire(run):
        assert owner_of(run).alive
        sleeper = subprocess.Popen(["sleep", "60"])
    run.write_owner(replace(Owner.this_process(), pid=sleeper.pid, start_time=start_time(sleeper.pid)))
    with pytest.raises(RunError, match=f"pid {sleeper.pid}"):
        Lease.acquire(run)
    sleeper.kill()
    sleeper.wait()
    Lease.acquire(run).release()


def test_acquiring_clears_away_what_a_killed_owner_was_writing(run):
    (run.path / ".run.json.0123456789ab.tmp").write_text("half")
    (run.checkpoints / ".operator.safetensors.0123456789ab.tmp").write_text("half")
    Lease.acquire(run).release()
    assert not list(run.path.rglob("*.tmp"))


def test_a_lease_that_could_not_be_entered_is_not_held(run):
    (run.path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json"):
        Lease.acquire(run)
    assert is_locked(run.path / "owner.lock") is False
