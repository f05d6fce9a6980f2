"""Removing a run takes its own files and nothing else, whatever lies in its folder or is linked from it."""

import os

import pytest

from ups_engine.errors import RunError
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.events import EventWriter
from ups_engine.runs.lease import Lease
from ups_engine.runs.removal import contents, remove


@pytest.fixture
def full(run):
    """A run with one of everything that UPS makes: 1,007 bytes and what `create` wrote."""
    with EventWriter(run.events) as writer:
        writer.emit("run_started", data={"stages": []})
    run.log.write_bytes(b"x" * 1000)
    run.write_data_record({})
    (run.checkpoints / "operator.safetensors").write_bytes(b"1234567")
    (run.resume / "000001").mkdir()
    (run.resume / "000001/tensors").write_bytes(b"")
    (run.reports / "evaluation.json").write_text("")
    (run.path / ".run.json.0123.tmp").write_text("")
    return run


def test_all_of_a_run_goes_and_its_neighbours_stay(full, make_run):
    other = make_run("two")
    size = sum(path.stat().st_size for path in full.path.rglob("*") if path.is_file())
    held = remove(full)
    assert held.foreign == () and size <= held.bytes < size + 300  # the lock file and the folders' own
    assert not full.path.exists() and other.record.owner is None


def test_a_live_run_is_refused_and_left_whole(full, in_child):
    with Lease.acquire(full):
        before = sorted(full.path.rglob("*"))
        assert "is owned by a live process" in in_child(lambda: remove(full))
        assert sorted(full.path.rglob("*")) == before


def test_what_ups_did_not_make_stays_and_is_named(full):
    (full.path / "thesis").mkdir()
    (full.path / "thesis/chapter.tex").write_text("x")
    (full.path / "notes.txt").write_text("x")
    assert contents(full).foreign == ("notes.txt", "thesis")
    assert remove(full).foreign == ("notes.txt", "thesis")
    assert sorted(path.name for path in full.path.iterdir()) == ["notes.txt", "thesis"]
    assert (full.path / "thesis/chapter.tex").exists()


def test_links_are_removed_and_never_followed(full, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.h5").write_bytes(b"x" * 10_000)
    (full.checkpoints / "link").symlink_to(outside)
    (full.reports / "evaluation.json").unlink()
    (full.reports / "evaluation.json").symlink_to(outside / "precious.h5")
    full.log.unlink()
    full.log.symlink_to(outside / "precious.h5")
    assert remove(full).bytes < 9_000
    assert not full.path.exists() and (outside / "precious.h5").stat().st_size == 10_000


def test_a_folder_of_a_run_that_is_itself_a_link_is_refused(full, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(full.path)
    with pytest.raises(RunError) as told:
        remove(RunDirectory(link))
    assert "is a link" in told.value.message and str(full.path) in told.value.hint
    assert full.record.owner is None


def test_a_folder_that_holds_no_run_is_refused(tmp_path):
    (tmp_path / "reports").mkdir()
    with pytest.raises(RunError):
        remove(RunDirectory(tmp_path))
    assert (tmp_path / "reports").is_dir()


def test_a_removal_that_was_broken_off_can_be_taken_up_again(full):
    full.checkpoints.chmod(0o500)
    if os.access(full.checkpoints, os.W_OK):
        full.checkpoints.chmod(0o700)
        pytest.skip("nothing is forbidden to root")
    with pytest.raises(RunError):
        remove(full)
    full.checkpoints.chmod(0o700)
    remove(RunDirectory.find(full.path, full.path.parent))
    assert not full.path.exists()
