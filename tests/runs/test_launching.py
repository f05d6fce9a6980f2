"""A launched run has its own session, its log and its folder, and outlives whoever launched it."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ups_engine.errors import RunError, UsageError
from ups_engine.runs.launching import launch_and_wait
from ups_engine.runs.owner import start_time

TELL = """
import json, os, sys
fds = sorted(int(n) for n in os.listdir("/proc/self/fd"))
print(json.dumps([os.getcwd(), os.getsid(0), os.getpid(), sys.stdin.read(), len(fds)]))
print("to stderr", file=sys.stderr)
"""
OWN = """
import sys, time
from pathlib import Path
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.lease import Lease
with Lease.acquire(RunDirectory(Path(sys.argv[1]))):
    print("owns", flush=True)
    while not Path(sys.argv[1], "enough").exists():
        time.sleep(0.01)
"""


def until(condition, what, timeout=30.0):
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"no {what} in {timeout} s"
        time.sleep(0.01)
    return found


def gone(pid):
    return start_time(pid) is None


def test_it_starts_in_its_folder_and_session_and_writes_behind_what_the_log_has(run, tmp_path, monkeypatch):
    folder = run.record.folder
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run.log.write_text("from before\n")
    kept_open = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(kept_open, True)
    pid = launch_and_wait(run, [sys.executable, "-c", TELL], timeout=0)
    until(lambda: "to stderr" in run.log.read_text(), "log")
    first, *told = run.log.read_text().splitlines()
    told.remove("to stderr")
    assert first == "from before"
    assert json.loads(told[0]) == [str(folder), pid, pid, "", 4]  # the fourth is the listing's own
    os.close(kept_open)


def test_a_folder_that_is_gone_does_not_keep_a_run_from_going_on_elsewhere(make_run, tmp_path, monkeypatch):
    moved = tmp_path / "moved"
    moved.mkdir()
    monkeypatch.chdir(moved)
    run = make_run()
    monkeypatch.chdir(tmp_path)
    moved.rmdir()
    launch_and_wait(run, [sys.executable, "-c", "import os; print(os.getcwd())"], timeout=0)
    assert until(run.log.read_text, "log") == f"{tmp_path}\n"


def test_an_ended_process_leaves_no_zombie_in_a_starter_that_lives_on(run):
    pid = launch_and_wait(run, [sys.executable, "-c", ""], timeout=0)
    until(lambda: not Path(f"/proc/{pid}").exists(), "end")


def test_it_outlives_a_starter_that_is_killed_and_the_closing_of_its_terminal(run):
    code = (
        "import sys; from pathlib import Path; from ups_engine.runs.directory import RunDirectory;"
        "from ups_engine.runs.launching import launch_and_wait; import time;"
        "print(launch_and_wait(RunDirectory(Path(sys.argv[1])), sys.argv[2:]), flush=True); time.sleep(100)"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", code, str(run.path), sys.executable, "-c", OWN, str(run.path)])
    pid = int(os.read(terminal, 100))
    os.close(terminal)  # hangs up: SIGHUP to the whole session of the starter
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.kill(pid, 0)
    assert not gone(pid) and run.record.owner.pid == pid
    (run.path / "enough").touch()
    until(lambda: gone(pid), "end")
    assert run.log.read_text() == "owns\n" and run.record.owner is None


def test_waiting_ends_when_the_process_owns_the_run(run):
    pid = launch_and_wait(run, [sys.executable, "-c", OWN, str(run.path)])
    assert run.record.owner.pid == pid
    (run.path / "enough").touch()
    until(lambda: gone(pid), "end")


def test_a_process_that_comes_to_a_good_end_at_once_has_no_pid(run):
    assert launch_and_wait(run, [sys.executable, "-c", "print('nothing is left to do')"]) is None


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("sys.exit('noise\\nerror: no such data\\n  make it')", RunError, ("no such data", "make it")),
        ("print('error: no stage x\\n  see --help'); sys.exit(2)", UsageError, ("no stage x", "see --help")),
        ("print('one'); sys.exit('two')", RunError, ("ended at once with exit code 1; its last line: two", "log.txt")),
        ("os.kill(os.getpid(), 9)", RunError, ("was killed by signal 9", "log.txt")),
    ],
)
def test_a_process_that_fails_at_once_is_told_in_its_own_words(run, code, kind, said):
    run.log.write_text("error: of another time\n  long past\n")
    with pytest.raises(kind) as told:
        launch_and_wait(run, [sys.executable, "-c", f"import os, sys; {code}"])
    assert said[0] in told.value.message and said[1] in told.value.hint


def test_a_process_that_takes_its_time_is_left_to_itself(run):
    pid = launch_and_wait(run, ["sleep", "60"], timeout=0.2)
    assert not gone(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_program_that_is_not_there_and_a_log_that_cannot_be_are_told(run):
    with pytest.raises(RunError, match="there is no program /no/python"):
        launch_and_wait(run, ["/no/python"], timeout=0)
    run.log.unlink()
    run.log.mkdir()
    with pytest.raises(RunError, match=r"log\.txt"):
        launch_and_wait(run, ["true"], timeout=0)


def test_it_needs_neither_torch_nor_numpy():
    code = "import sys, ups_engine.runs.launching; print([m for m in ('torch', 'numpy', 'psutil') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"
