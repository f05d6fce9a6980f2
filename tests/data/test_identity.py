"""Identity of data: by all bytes of its files, hashed once and remembered, told by what differs."""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ups_engine.data.identity import content_stamp, fingerprint_parts, identity_of, settle
from ups_engine.data.prepare import prepare_data
from ups_engine.data.sources import content, open_source, remembered
from ups_engine.data.sources.content import block_bytes
from ups_engine.errors import DataError

OTHER = "is not the data that this run was made with"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder of the user's, and nothing remembered in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "_seen", {})
    return tmp_path / "cache/ups/data"


@pytest.fixture
def hashed(monkeypatch, cache):
    """Paths of the files that were hashed, in order."""
    seen, real = [], content._hash
    monkeypatch.setattr(content, "_hash", lambda file, *rest: seen.append(Path(file.name).name) or real(file, *rest))
    return seen


@pytest.fixture
def path(tmp_path, write_pdebench, random_fields):
    return write_pdebench(tmp_path / "a.h5", random_fields(200, 11, 256))


def forget():
    """As a new process begins."""
    remembered._seen.clear()


def refused(source, known):
    with pytest.raises(DataError, match=OTHER) as caught:
        settle(source, known, identity_of(source))
    return caught.value


def edit(path, *rows):
    with h5py.File(path, "r+") as file:
        for row in rows:
            file["tensor"][row, 1:] = 100 * file["tensor"][row, 1:]


def test_rows_corrected_in_place_are_found_and_named(path, cache):
    known, stamp = identity_of(open_source(path)), content_stamp(path)
    edit(path, 60, 119)
    assert content_stamp(path) == stamp, "the samples of earlier versions miss this"
    error = refused(open_source(path), known)
    assert str(path) in error.message
    assert "within trajectories 59 to 62, 119 to 120" in error.message
    assert known["files"][0]["sha256"][:12] in error.message
    assert error.hint == "put the earlier file back, or start a new run with what is there now"


def test_rows_of_chunked_and_sharded_files_are_named_too(tmp_path, write_pdebench, random_fields, cache):
    for number in range(2):
        write_pdebench(tmp_path / f"a_train_{number}.h5", random_fields(50, 11, 256), chunks=(1, 11, 256))
    known = identity_of(open_source(tmp_path))
    edit(tmp_path / "a_train_1.h5", 20)
    error = refused(open_source(tmp_path), known)
    assert "a_train_1.h5" in error.message and "within trajectories 69 to 71" in error.message


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_that_changes_is_found_though_size_and_time_stay(data, path, cache):
    known, before = identity_of(open_source(path)), path.stat()
    at, flip = data.draw(st.integers(0, before.st_size - 1)), data.draw(st.integers(1, 255))
    source = open_source(path)
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ flip]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    refused(source, known)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([byte]))
    assert settle(source, known, identity_of(source)) == known, "the earlier file is accepted again"


def test_a_copy_is_the_same_data_and_a_touched_file_costs_one_hash(tmp_path, path, hashed):
    known = identity_of(open_source(path))
    assert hashed == ["a.h5"]
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(path, tmp_path / "elsewhere/a.h5")
    assert settle(open_source(copy), known, identity_of(open_source(copy))) == known
    for touched in range(2):
        os.utime(path, (touched, touched))
        for _ in range(2):
            forget()
            assert identity_of(open_source(path)) == known
    assert hashed == ["a.h5"] * 4


def test_opening_a_remembered_file_hashes_nothing(path, hashed):
    known = identity_of(open_source(path))
    forget()
    hashed.clear()
    assert identity_of(open_source(path)) == known and hashed == []


@pytest.mark.parametrize("spoil", ["cut", "foreign", "other", "exchanged"])
def test_a_damaged_memory_is_no_fault(tmp_path, path, cache, hashed, spoil):
    known = identity_of(open_source(path))
    (entry,) = cache.iterdir()
    text = entry.read_text()
    sha = known["files"][0]["sha256"]
    spoilt = {"cut": text[:-20], "foreign": "[]", "other": text.replace(sha, "0" * 64)}
    spoilt["exchanged"] = text.replace(str(path), str(tmp_path / "b.h5"))
    entry.write_text(spoilt[spoil])
    for times in (2, 2):
        forget()
        assert identity_of(open_source(path)) == known
        assert len(hashed) == times, "hashed again, and remembered anew"


def test_where_nothing_can_be_written_the_process_remembers(tmp_path, path, hashed, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    known = identity_of(open_source(path))
    assert identity_of(open_source(path)) == known and len(hashed) == 1
    forget()
    assert identity_of(open_source(path)) == known and len(hashed) == 2


def test_a_file_that_is_written_while_it_is_hashed_is_refused(path, cache, monkeypatch):
    real = content._hash

    def disturbed(*given):
        found = real(*given)
        path.write_bytes(b"more of it")
        return found

    monkeypatch.setattr(content, "_hash", disturbed)
    with pytest.raises(DataError, match=r"a\.h5 was changed while it was read"):
        identity_of(open_source(path))


def test_what_a_virtual_dataset_or_a_link_points_to_counts(tmp_path, write_pdebench, random_fields, cache):
    part, path = write_pdebench(tmp_path / "part.src", random_fields(8, 3, 16)), tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((8, 3, 16), np.float32)
        layout[:] = h5py.VirtualSource("part.src", "tensor", (8, 3, 16))
        file.create_virtual_dataset("tensor", layout)
        file["x-coordinate"] = h5py.ExternalLink("part.src", "x-coordinate")
        file["t-coordinate"] = np.arange(4, dtype=np.float32)
    known = identity_of(open_source(path))
    assert [file["name"] for file in known["files"]] == ["a.h5", "part.src"]
    edit(part, 2)
    assert str(part) in refused(open_source(path), known).message


def test_another_name_length_or_layout_is_said(tmp_path, path, cache):
    known = identity_of(open_source(path))
    renamed = shutil.copy(path, tmp_path / "b.h5")
    assert "recorded is a file called a.h5" in refused(open_source(renamed), known).message
    assert (
        "read as PDEBench single file, 1-D, recorded is x"
        in refused(open_source(path), {**known, "format": "x"}).message
    )
    with path.open("ab") as file:
        file.write(b"\0")
    size = known["files"][0]["bytes"]
    assert f"it is {size + 1} bytes long, recorded are {size}" in refused(open_source(path), known).message


def test_a_stamp_that_does_not_fit_is_refused(path, settings_for, cache):
    chosen = settings_for(f"data.path={path}")
    before = stamped(prepare_data(chosen).record(), path)
    with h5py.File(path, "r+") as file:
        file["tensor"][0] = 0.0
    with pytest.raises(DataError, match=f"{OTHER}: its content is not what is recorded"):
        prepare_data(chosen, before)


def stamped(record, path):
    """A record as version 3 wrote it."""
    record = json.loads(json.dumps(record))
    (file,) = record["members"][0]["identity"]["files"]
    record["members"][0]["identity"]["files"] = [
        {"name": file["name"], "bytes": file["bytes"], "stamp": content_stamp(path)}
    ]
    return {**record, "version": 3}


def test_a_stamp_of_an_earlier_version_is_accepted_once_with_a_notice(path, settings_for, cache):
    chosen, told = settings_for(f"data.path={path}"), []
    now = prepare_data(chosen).record()
    replaced = prepare_data(chosen, stamped(now, path), told.append).record()
    assert ["hash of all its bytes" in sentence for sentence in told] == [True]
    (file,) = replaced["members"][0]["identity"]["files"]
    assert file.pop("stamp") == content_stamp(path)
    assert replaced == now, "but for the stamp"
    file["stamp"] = content_stamp(path)
    edit(path, 60, 119)
    with pytest.raises(DataError, match=OTHER):
        prepare_data(chosen, replaced)


def test_caches_of_a_run_of_before_are_known_by_its_stamps_and_others_by_content_and_axes(path, cache):
    now = identity_of(open_source(path))
    (file,) = now["files"]
    before = {"format": now["format"], "files": [{**file, "stamp": "5"}]}
    assert fingerprint_parts(before, [True]) == {
        "source": {"format": now["format"], "files": [{"name": "a.h5", "bytes": file["bytes"], "stamp": "5"}]}
    }
    parts = fingerprint_parts(now, [True])
    assert parts["source"]["files"] == [{"name": "a.h5", "bytes": file["bytes"], "sha256": file["sha256"]}]
    assert fingerprint_parts(now, [False]) != parts


@given(st.integers(0, 2**41))
def test_a_file_of_any_size_has_at_most_256_blocks(size):
    assert -(-size // block_bytes(size)) <= 256
    assert block_bytes(size) == 4096 or -(-size // (block_bytes(size) // 2)) > 256
