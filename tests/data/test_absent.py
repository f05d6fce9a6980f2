"""Values that were never written, or whose source is gone, are refused and never read as zeros."""

import sys
import types

import h5py
import numpy as np
import pytest

from ups_engine.data.inspect import describe
from ups_engine.data.prepare import prepare_data
from ups_engine.data.sources import open_source
from ups_engine.data.survey import survey_data
from ups_engine.errors import DataError

N, T, X = 24, 11, 64


@pytest.fixture
def values(random_fields):
    return random_fields(N, T, X)


def write_axes(file):
    file["x-coordinate"] = ((np.arange(X) + 0.5) / X).astype(np.float32)
    file["t-coordinate"] = (np.arange(T + 1) * 0.05).astype(np.float32)


def write_partly(path, values, chunks, written, **how):
    """A file of which only `written`, frames by trajectory, was written; all frames of those it does not name."""
    with h5py.File(path, "w", **how) as file:
        tensor = file.create_dataset("tensor", values.shape, np.float32, chunks=chunks)
        for row in range(len(values)):
            frames = written.get(row, T)
            if frames:
                tensor[row, :frames] = values[row, :frames]
        write_axes(file)
    return path


def write_virtual(path, values, parts, absent=()):
    """A virtual dataset over `parts`, selections by name; those in `absent` are not written."""
    layout = h5py.VirtualLayout((N, T, X), np.float32)
    for name, where in parts.items():
        source = path.parent / name
        layout[where] = h5py.VirtualSource(name, "tensor", values[where].shape)
        if name not in absent:
            with h5py.File(source, "w") as file:
                file["tensor"] = values[where]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("tensor", layout, fillvalue=0)
        write_axes(file)
    return path


HALVES = {"part0.src": np.s_[:12], "part1.src": np.s_[12:]}
ERAS = {"early.src": np.s_[:, :6], "late.src": np.s_[:, 6:]}


def refusals(path, settings):
    """What inspecting, surveying, preparing and reading each say."""
    for way in (
        lambda: describe(path, settings),
        lambda: survey_data(settings),
        lambda: prepare_data(settings),
        lambda: open_source(path).read(np.arange(N)),
    ):
        with pytest.raises(DataError) as caught:
            way()
        yield caught.value


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize(
    ("chunks", "written", "says"),
    [
        ((1, 1, X), {20: 4}, "trajectory 20 (of 24): 7 of 264 chunks of tensor were never written"),
        ((1, T, X), {1: 0}, "trajectory 1 (of 24): 1 of 24 chunks of tensor were never written"),
        ((4, T, X), dict.fromkeys((8, 9, 10, 11), 0), "trajectory 8 and 3 more (of 24): 1 of 6 chunks"),
        ((5, T, 32), dict.fromkeys((20, 21, 22, 23), 0), "trajectory 20 and 3 more (of 24): 2 of 10 chunks"),
        ((N, T, X), dict.fromkeys(range(N), 0), "trajectory 0 and 23 more (of 24): 1 of 1 chunks"),
        (None, dict.fromkeys(range(N), 0), "trajectory 0 and 23 more (of 24): no value of tensor was ever written"),
    ],
)
def test_unwritten_chunks_are_counted_and_refused(tmp_path, values, settings_for, chunks, written, says, libver):
    path = write_partly(tmp_path / "a.hdf5", values, chunks, written, libver=libver)
    data = settings_for(f"data.path={path}")
    for refusal in list(refusals(path, data))[:: 1 if libver == "earliest" else 3]:
        assert says in refusal.message
        assert str(path) in refusal.message
        assert (f"data.exclude=[{','.join(map(str, written))}]" in refusal.hint) == ("23 more" not in says)


def test_whole_files_have_no_gaps_however_they_are_stored(tmp_path, values, write_pdebench):
    for number, options in enumerate(
        (
            {},
            {"chunks": (5, 3, 17)},
            {"chunks": (1, T, X), "compression": "gzip"},
            {"chunks": (1, 1, X), "maxshape": (None, T, X)},
        )
    ):
        source = open_source(write_pdebench(tmp_path / f"{number}.h5", values, **options))
        assert source.gaps() == ()
        assert np.array_equal(source.read(np.arange(N))[..., 0], values)


@pytest.mark.parametrize(
    ("parts", "absent", "says", "rows"),
    [
        (HALVES, "part1.src", "trajectory 12 and 11 more (of 24): part1.src", range(12, 24)),
        (ERAS, "late.src", "trajectory 0 and 23 more (of 24): late.src", range(24)),
    ],
)
def test_an_absent_source_of_a_virtual_dataset_is_named(tmp_path, values, settings_for, parts, absent, says, rows):
    path = write_virtual(tmp_path / "a.hdf5", values, parts, absent)
    for refusal in refusals(path, settings_for(f"data.path={path}")):
        assert f"{says}, a source of the virtual dataset tensor, is not there" in refusal.message
        assert f"put {absent} where it belongs" in refusal.hint
    assert open_source(path).gaps()[0].trajectories == frozenset(rows)


@pytest.mark.parametrize("parts", [HALVES, ERAS])
def test_a_virtual_dataset_whose_sources_are_there_is_read(tmp_path, values, parts):
    source = open_source(write_virtual(tmp_path / "a.hdf5", values, parts))
    assert source.gaps() == ()
    assert np.array_equal(source.read([3, 20])[..., 0], values[[3, 20]])


def test_a_run_refuses_to_go_on_when_a_source_of_its_data_has_gone(tmp_path, values, settings_for):
    settings = settings_for(f"data.path={write_virtual(tmp_path / 'a.hdf5', values, HALVES)}")
    record = prepare_data(settings).record()
    assert len(prepare_data(settings, record).members[0].splits.all()) == N
    (tmp_path / "part1.src").unlink()
    with pytest.raises(DataError, match=r"part1\.src, a source of the virtual dataset tensor, is not there"):
        prepare_data(settings, record)


def test_gaps_within_a_source_and_between_sources_are_found(tmp_path, values):
    path = write_virtual(tmp_path / "a.hdf5", values, HALVES)
    write_partly(tmp_path / "part1.src", values[12:], (1, T, X), {3: 0})
    (gap,) = open_source(path).gaps()
    assert (gap.trajectories, gap.files) == (frozenset({15}), ("part1.src",))
    assert "1 of 12 chunks of tensor were never written" in gap.reason
    with h5py.File(tmp_path / "part1.src", "w") as file:
        file["tensor"] = values[12:18]
    assert "part1.src, a source of the virtual dataset tensor, is too short" in open_source(path).gaps()[0].reason
    with h5py.File(tmp_path / "part1.src", "w") as file:
        file["other"] = values
    assert (
        "part1.src, a source of the virtual dataset tensor, holds no dataset tensor"
        in open_source(path).gaps()[0].reason
    )
    (gap,) = open_source(write_virtual(tmp_path / "b.hdf5", values, {"part0.src": np.s_[:12]})).gaps()
    assert (gap.trajectories, gap.files) == (frozenset(range(12, 24)), ())


def test_gaps_only_in_trajectories_left_out_are_no_hindrance(tmp_path, values, settings_for):
    path = write_partly(tmp_path / "a.hdf5", values, (1, 1, X), {20: 4, 7: 0})
    partly, wholly = (settings_for(f"data.path={path}", f"data.exclude={rows}") for rows in ("[20]", "[7,20]"))
    with pytest.raises(DataError, match="trajectory 7 ") as caught:
        prepare_data(partly)
    assert "data.exclude=[7,20]" in caught.value.hint
    assert describe(path, wholly).fields[0].low == values[np.setdiff1d(np.arange(N), [7, 20])][evenly_spaced()].min()
    assert len(prepare_data(wholly).members[0].splits.all()) == 22


def evenly_spaced():
    """What `describe` samples of 22 trajectories of 11 frames."""
    return np.ix_(np.linspace(0, 21, 16).round().astype(int), np.linspace(0, T - 1, 5).round().astype(int))


def test_a_shard_that_lacks_values_is_named_with_its_own_number(tmp_path, values, settings_for, write_pdebench):
    write_pdebench(tmp_path / "a_train_0.h5", values)
    lacking = write_partly(tmp_path / "a_train_1.h5", values[::-1], (1, T, X), {5: 0})
    with pytest.raises(DataError) as caught:
        prepare_data(settings_for(f"data.path={tmp_path}"))
    assert f"{lacking} lacks values of trajectory 5 (of 48)" in caught.value.message
    assert "data.exclude=[29]" in caught.value.hint


def test_frames_that_are_zero_among_others_are_told(tmp_path, values, settings_for, write_pdebench):
    values[20, 4:], values[3, 2] = 0, 0
    path = write_pdebench(tmp_path / "a.hdf5", values)
    told = []
    prepare_data(settings_for(f"data.path={path}"), notify=told.append)
    said = f"{path}: 1 frame of trajectory 3, and of 1 more trajectories zero throughout"
    assert [line for line in told if line.startswith(said)]
    excluded = settings_for(f"data.path={path}", "data.exclude=[3]")
    assert describe(path, settings_for()).plan[0].startswith(said)
    assert describe(path, excluded).plan[0].startswith(f"{path}: 7 frames of trajectory 20 zero throughout")


def test_a_frame_that_is_zero_in_one_channel_alone_or_everywhere_is_no_cause(tmp_path, settings_for, write_converted):
    values = np.zeros((5, 4, 8, 8, 2), np.float32)
    path = write_converted(tmp_path / "a.h5", values, dt=0.1)
    assert not any("zero throughout" in line for line in describe(path, settings_for()).plan)
    values[..., 1] = 1
    path = write_converted(tmp_path / "b.h5", values, dt=0.1)
    assert not any("zero throughout" in line for line in describe(path, settings_for()).plan)


def write_packed(path, values, code):
    """Chunks said to be packed by a filter that HDF5 itself does not have."""
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, T, X))
        plist.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (2, 2, 4, 256, 5, 1, 0))
        space = h5py.h5s.create_simple(values.shape)
        tensor = h5py.h5d.create(file.id, b"tensor", h5py.h5t.IEEE_F32LE, space, plist)
        for row in range(len(values)):
            tensor.write_direct_chunk((row, 0, 0), values[row].tobytes(), 0)
        write_axes(file)
    return path


@pytest.mark.parametrize(
    ("code", "name", "remedy"),
    [
        (32001, "blosc", "pip install hdf5plugin"),
        (32015, "zstd", "pip install hdf5plugin"),
        (300, "", "HDF5_PLUGIN_PATH"),
    ],
)
def test_an_unknown_filter_is_named_with_what_installs_it(tmp_path, values, monkeypatch, code, name, remedy):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)  # as where it is not installed
    path = write_packed(tmp_path / "a.hdf5", values, code)
    with pytest.raises(DataError) as caught:
        open_source(path)
    assert f"{path}: tensor is packed by HDF5 filter {code} ({name}" in caught.value.message
    assert "damaged" not in str(caught.value)
    assert remedy in caught.value.hint


def test_hdf5plugin_is_loaded_where_a_filter_is_missing(tmp_path, values, monkeypatch):
    path = write_packed(tmp_path / "a.hdf5", values, 32001)
    plugin = types.ModuleType("hdf5plugin")
    known = h5py.h5z.filter_avail
    monkeypatch.setitem(sys.modules, "hdf5plugin", plugin)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code == 32001 or known(code))
    assert open_source(path).info.trajectories == N
