"""Data corrected in place under a run: every command that would use it refuses, and says what changed."""

import json
import shutil
from dataclasses import replace

import pytest

from ups_engine.data.identity import content_stamp
from ups_engine.errors import DataError
from ups_engine.latents.building.completion import build_target
from ups_engine.latents.manifest import load_manifest
from ups_engine.pipeline.reopen import open_context, wanted_caches

OTHER = "is not the data that this run was made with: its content was changed within trajector"


@pytest.fixture
def own(copied, monkeypatch):
    """A finished run on a data file of its own."""
    monkeypatch.chdir(copied.terminal.folder)
    record = copied.directory.data_record()
    record["members"][0]["files"] = [str(data_file(copied))]
    copied.directory.write_data_record(record)
    return copied


def data_file(run):
    (path,) = (run.terminal.folder / "data/generated").iterdir()
    return path


def edit(run):
    path = data_file(run)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0\0\xc8\x42")  # 100.0


def as_stamped(run):
    """The run as the version before left it: its data known by a stamp, its caches too."""
    record = run.directory.data_record()
    (file,) = record["members"][0]["identity"]["files"]
    before = {"name": file["name"], "bytes": file["bytes"], "stamp": content_stamp(data_file(run))}
    record["members"][0]["identity"]["files"] = [before]
    run.directory.write_data_record({**record, "version": 3})


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "run"),
        ("evaluate", "run", "--split", "val"),
        ("cache", "check", "run"),
        ("train", "--headless", "--resume", "run", "--stage", "evaluation"),
        ("train", "--dry-run", "--resume", "run"),
    ],
)
def test_every_command_refuses_data_that_was_corrected_in_place(own, command):
    edit(own)
    before = own.evaluation()
    done = own.terminal.run(*command)
    said = " ".join((done.out + done.err).split())
    assert done.code == 1 and OTHER in said and data_file(own).name in said
    assert own.evaluation() == before


def test_a_run_goes_on_with_the_earlier_file_put_back_and_with_a_copy(own):
    whole = data_file(own).read_bytes()
    edit(own)
    assert own.terminal.run("cache", "check", "run").code == 1
    data_file(own).write_bytes(whole)
    done = own.terminal.run("cache", "check", "run", "--json")
    assert done.code == 0 and json.loads(done.out)["ready"], done.err


def test_a_file_changed_while_a_run_is_open_is_refused_before_its_caches_are_used(own):
    context = open_context(own.directory)
    assert context.caches.targets()
    edit(own)
    with pytest.raises(DataError, match=OTHER):
        context.caches.targets()


def test_what_is_encoded_while_a_file_changes_is_not_recorded(own):
    (target, *_) = open_context(own.directory).caches.targets()
    shutil.rmtree(target.path)

    def read(rows, frames):
        fields = target.read(rows, frames)
        edit(own)
        return fields

    with pytest.raises(DataError, match=OTHER):
        build_target(replace(target, read=read))
    manifest = load_manifest(target.path)
    assert manifest is not None and manifest.complete == 0


def test_a_stamped_run_is_taken_over_with_a_notice_and_keeps_its_caches(own):
    as_stamped(own)
    context = open_context(own.directory)
    context.caches.reader("burgers1d", "train")  # as the version before encoded them
    kept = {target.path.name: target.path.stat().st_ino for target in context.caches.targets()}
    done = own.terminal.run("evaluate", "run", "--json")
    assert done.code == 0 and "known by a hash of all its bytes" in done.err, done.err
    record = own.directory.data_record()
    assert record["version"] == 4 and "sha256" in record["members"][0]["identity"]["files"][0]
    targets = open_context(own.directory).caches.targets()
    assert {target.path.name: target.path.stat().st_ino for target in targets} == kept
    assert {target.fingerprint.digest for target in targets} <= wanted_caches(own.path.parent)[0]
    edit(own)
    with pytest.raises(DataError, match=OTHER):
        open_context(own.directory)
