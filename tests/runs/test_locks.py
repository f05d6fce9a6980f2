"""One registry of locks: a process never loses a lock by closing another descriptor, a forked child has none."""

import errno
import os

import pytest

from ups_engine.runs.locks import LockFile, is_locked

ASK = """
    import sys
    from pathlib import Path
    from ups_engine.runs.locks import LockFile
    file = LockFile(Path(sys.argv[1]))
    first, length, shared = map(int, sys.argv[2:])
    print(file.lock(first, length, shared=bool(shared)), file.locker(), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def ask(python, tmp_path):
    """Tries to lock from another process: whether it got the bytes, and whom it sees."""

    def answer(first=0, length=0, *, shared=False):
        got, locker = python(ASK, tmp_path / "lock", first, length, int(shared)).stdout.readline().split()
        return got == "True", None if locker == "None" else int(locker)

    return answer


def test_of_several_users_in_a_process_the_last_one_takes_the_locks_along(tmp_path, ask):
    one, other = LockFile(tmp_path / "lock"), LockFile(tmp_path / "lock")
    assert one.lock()
    other.close()
    other.close()
    assert ask() == (False, os.getpid()) and is_locked(tmp_path / "lock")
    one.close()
    assert is_locked(tmp_path / "lock") is False
    assert ask()[0]


def test_asking_costs_no_lock(tmp_path, ask):
    with LockFile(tmp_path / "lock") as file:
        assert file.lock()
        assert all(is_locked(tmp_path / "lock") for _ in range(3))
        assert not ask()[0]
    assert is_locked(tmp_path / "nowhere") is False


def test_who_wants_to_be_alone_in_the_process_is_or_is_refused(tmp_path):
    with LockFile(tmp_path / "lock"), pytest.raises(BlockingIOError):
        LockFile(tmp_path / "lock", alone=True)
    with LockFile(tmp_path / "lock", alone=True), pytest.raises(BlockingIOError):
        LockFile(tmp_path / "lock")
    LockFile(tmp_path / "lock", alone=True).close()


def test_shared_locks_go_together_and_keep_an_exclusive_one_out(tmp_path, ask):
    with LockFile(tmp_path / "lock") as file:
        assert file.lock(shared=True)
        assert ask(shared=True)[0]
        assert not ask()[0]


def test_ranges_of_bytes_are_apart(tmp_path, ask):
    with LockFile(tmp_path / "lock") as file:
        assert file.lock(3, 2)
        assert [ask(byte, 1)[0] for byte in range(2, 6)] == [True, False, False, True]
        assert not ask()[0]
        file.unlock(3, 1)
        assert ask(3, 1)[0]


def test_a_forked_child_has_none_of_its_parents_locks_and_can_lose_none(tmp_path, ask):
    with LockFile(tmp_path / "lock") as file:
        assert file.lock()
        pid = os.fork()
        if pid == 0:
            file.close()
            with LockFile(tmp_path / "lock", alone=True) as own:
                os._exit(0 if not own.lock() and not file.open else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert not ask()[0]


def test_a_file_system_without_locks_is_told_by_the_error(tmp_path, monkeypatch):
    import fcntl

    from ups_engine.runs.locks import without_locks

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with LockFile(tmp_path / "lock") as file, pytest.raises(OSError, match="No locks") as refused:
        file.lock()
    assert without_locks(refused.value)
