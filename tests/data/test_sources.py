"""Sources: opened by content, lazily read, equal to what h5py gives, clear about what they cannot read."""

import json
import os
import pickle
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ups_engine.data.identity import identity_of
from ups_engine.data.sources import open_source
from ups_engine.data.sources.axes import time_axis
from ups_engine.data.sources.base import spans
from ups_engine.discretisation.sample import validate_sample
from ups_engine.errors import DataError


def test_a_pdebench_file_is_described_by_its_content_and_name(tmp_path, write_pdebench, random_fields):
    path = write_pdebench(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", random_fields(4, 6, 32))
    info = open_source(path).info
    assert (info.task, info.trajectories, info.frames, info.resolution) == ("burgers1d", 4, 6, (32,))
    assert (info.periodic, info.parameters, info.bytes) == ((True,), ("nu",), path.stat().st_size)
    assert info.dt == 0.05
    assert len(info.time) == 6
    assert info.coordinates[0] == pytest.approx((np.arange(32) + 0.5) / 32, abs=1e-7)


def test_a_renamed_file_is_still_recognised(tmp_path, write_pdebench, write_converted, random_fields):
    assert open_source(write_pdebench(tmp_path / "a.bin", random_fields(2, 3, 8))).info.periodic == (True,)
    assert open_source(write_converted(tmp_path / "b", random_fields(2, 3, 8))).info.resolution == (8,)


def test_multi_field_flow_is_read_channel_by_channel(tmp_path, random_fields):
    path = tmp_path / "1D_CFD_Shock_Eta0.01_Zeta0.02_trans_Train.hdf5"
    parts = {name: random_fields(3, 5, 16, seed=i) for i, name in enumerate(["density", "pressure", "Vx"])}
    with h5py.File(path, "w") as file:
        for name, values in parts.items():
            file[name] = values
        file["x-coordinate"] = np.linspace(-1, 1, 16, dtype=np.float32)
        file["t-coordinate"] = np.linspace(0, 1, 6, dtype=np.float32)
    source = open_source(path)
    assert source.info.periodic == (False,)
    assert source.parameters([1]).tolist() == [[0.01, 0.02]]
    assert np.array_equal(source.read([2]), np.stack([values[2] for values in parts.values()], axis=-1)[None])
    assert np.array_equal(source.read([0], [4], ["Vx", "density"])[0, 0, :, 1], parts["density"][0, 4])
    with pytest.raises(DataError, match="no field 'Vy'"):
        source.read([0], None, ["Vy"])


def test_converted_two_dimensional_files_are_read(tmp_path, write_converted, random_fields):
    data = random_fields(3, 4, 6, 8, 2)
    source = open_source(
        write_converted(tmp_path / "navier_stokes2d_train_0.h5", data, dt=0.25, periodic=[True, False])
    )
    assert (source.info.resolution, source.info.channels, source.info.dt) == ((6, 8), 2, 0.25)
    assert (source.info.periodic, source.info.split) == ((True, False), "train")
    assert np.array_equal(source.read([2, 0], spatial_stride=2), data[[2, 0]][:, :, ::2, ::2])
    sample = source.sample(1, 3)
    validate_sample(sample)
    assert np.array_equal(sample.fields["u"], data[1, 3].reshape(-1, 2))
    assert sample.time == 0.75


@pytest.mark.parametrize(("name", "periodic"), [("2D_Heat_a.hdf5", True), ("mine.hdf5", False)])
def test_pdebench_files_of_several_axes_are_read(tmp_path, random_fields, name, periodic):
    values = random_fields(3, 4, 6, 8)
    with h5py.File(tmp_path / name, "w") as file:
        file["tensor"] = values
        file["x-coordinate"], file["y-coordinate"] = np.arange(6.0), np.arange(8.0) / 4
        file["t-coordinate"] = np.arange(5.0)
    source = open_source(tmp_path / name)
    info = source.info
    assert (info.format, info.resolution, info.periodic) == ("PDEBench single file, 2-D", (6, 8), (periodic,) * 2)
    assert [axis[-1] for axis in info.coordinates] == [5.0, 1.75]
    assert np.array_equal(source.read([2, 0], [1, 3], spatial_stride=2)[..., 0], values[[2, 0]][:, [1, 3], ::2, ::2])
    validate_sample(source.sample(1, 2))
    assert identity_of(source)["format"] == "PDEBench single file, 2-D"


@pytest.mark.parametrize("layout", ["tensor", "data"])
@pytest.mark.parametrize("stated", [True, False])
def test_what_a_file_states_of_its_ends_comes_before_its_name_in_every_layout(tmp_path, random_fields, layout, stated):
    named = "trans" if stated else "periodic"
    path = tmp_path / f"1D_Burgers_{named}_a.hdf5"
    with h5py.File(path, "w") as file:
        file[layout] = random_fields(3, 4, 16)
        file["x-coordinate"], file["t-coordinate"] = np.arange(16.0), np.arange(5.0)
        file.attrs["periodic"] = stated
    assert open_source(path).info.periodic == (stated,)


def test_darcy_flow_is_not_taken_for_a_simulation_in_time(tmp_path, random_fields):
    with h5py.File(tmp_path / "2D_DarcyFlow_beta1.0_Train.hdf5", "w") as file:
        file["nu"], file["tensor"] = random_fields(3, 8, 8), random_fields(3, 1, 8, 8)
        file["x-coordinate"] = file["y-coordinate"] = np.arange(8.0)
        file["t-coordinate"] = np.arange(10.0)
    with pytest.raises(DataError, match="does not read: it holds nu"):
        open_source(tmp_path / "2D_DarcyFlow_beta1.0_Train.hdf5")


def test_a_file_made_by_an_ups_that_knows_more_tasks_says_its_parameters(tmp_path, write_pdebench, random_fields):
    said = {"task": "waves1d", "solvers": 3, "seed": 0, "celerity": 2.0, "frames": 4}
    stored = {"task": "waves1d", "celerity": 2.0, "frames": 7, "colour": 5, "ups_generate": json.dumps(said)}
    source = open_source(write_pdebench(tmp_path / "a.h5", random_fields(3, 4, 8), attributes=stored))
    assert (source.info.task, source.info.parameters) == ("waves1d", ("celerity",))
    assert source.parameters([1]).tolist() == [[2.0]]


def test_a_converted_file_says_no_time_step(tmp_path, write_converted, random_fields):
    assert open_source(write_converted(tmp_path / "x_train.h5", random_fields(2, 3, 8))).info.dt is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_selection_equals_the_array_it_came_from(data, tmp_path_factory, write_pdebench, random_fields):
    path = tmp_path_factory.getbasetemp() / "selection.hdf5"
    values = random_fields(5, 150, 12)  # frames of 48 bytes: one span; the gaps are tried below
    if not path.exists():
        write_pdebench(path, values, chunks=(1, 7, 12))
    source = open_source(path)
    rows = np.array(data.draw(st.lists(st.integers(0, 4), max_size=8)), dtype=np.int64)
    stride = data.draw(st.integers(1, 5))
    kind = data.draw(st.sampled_from(["all", "slice", "shared", "own"]))
    if kind == "all":
        got, expected = source.read(rows, spatial_stride=stride), values[rows]
    elif kind == "slice":
        cut = slice(data.draw(st.integers(0, 40)), data.draw(st.integers(41, 150)), data.draw(st.integers(1, 9)))
        got, expected = source.read(rows, cut, spatial_stride=stride), values[rows][:, cut]
    else:
        count = data.draw(st.integers(1, 6))
        shape = (len(rows), count) if kind == "own" else (count,)
        flat = data.draw(st.lists(st.integers(0, 149), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        frames = np.array(flat, dtype=np.int64).reshape(shape)
        got = source.read(rows, frames, spatial_stride=stride)
        expected = values[rows[:, None], np.broadcast_to(frames, (len(rows), count))]
    assert got.dtype == np.float32
    assert np.array_equal(got, expected[..., ::stride][..., None])


@given(st.sets(st.integers(0, 300)), st.integers(0, 40))
def test_spans_cover_the_frames_and_close_small_gaps_only(frames, gap):
    wanted = np.array(sorted(frames), dtype=np.int64)
    found = list(spans(wanted, gap))
    assert frames <= {frame for start, stop in found for frame in range(start, stop)}
    assert all(start in frames and stop - 1 in frames for start, stop in found)
    assert all(later[0] - earlier[1] > gap for earlier, later in pairwise(found))


def test_numbers_that_do_not_exist_are_refused(tmp_path, write_pdebench, random_fields):
    source = open_source(write_pdebench(tmp_path / "a.h5", random_fields(3, 4, 8)))
    for rows, frames in (([3], None), ([-1], None), ([0], [4]), ([0], [-1]), ([0, 1], np.zeros((3, 1), int))):
        with pytest.raises(IndexError):
            source.read(rows, frames)


def test_shards_count_on_and_keep_their_own_parameters(tmp_path, write_pdebench, random_fields):
    first, second = random_fields(3, 4, 8), random_fields(2, 4, 8, seed=1)
    write_pdebench(tmp_path / "1D_Burgers_Sols_Nu0.1.hdf5", first)
    write_pdebench(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", second)
    source = open_source(tmp_path)
    assert source.info.trajectories == 5
    both = np.concatenate([second, first])
    assert np.array_equal(source.read([4, 0, 2])[..., 0], both[[4, 0, 2]])
    assert [source.locate(row)[1] for row in (0, 1, 2, 4)] == [0, 1, 0, 2]
    assert source.parameters([0, 1, 2, 3])[:, 0].tolist() == [0.01, 0.01, 0.1, 0.1]


def test_attributes_give_parameters_before_the_name_and_per_trajectory(tmp_path, write_pdebench, random_fields):
    path = tmp_path / "1D_Burgers_Sols_Nu0.1.hdf5"
    write_pdebench(path, random_fields(3, 4, 8), attributes={"nu": [0.1, 0.2, 0.3], "seed": 4})
    source = open_source(path)
    assert source.info.parameters == ("nu",)
    assert source.parameters([2, 0]).tolist() == [[0.3], [0.1]]
    source.close()
    write_pdebench(path, random_fields(3, 4, 8), attributes={"nu": [0.1, 0.2]})
    with pytest.raises(DataError, match="'nu' is neither a number"):
        open_source(path)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ((3, 4, 16), r"resolution \(16,\) against \(8,\)"),
        ((3, 5, 8), "frames 5 against 4"),
    ],
)
def test_shards_that_do_not_go_together_are_named(tmp_path, write_pdebench, random_fields, second, words):
    write_pdebench(tmp_path / "a_train_0.h5", random_fields(3, 4, 8))
    write_pdebench(tmp_path / "a_train_1.h5", random_fields(*second))
    with pytest.raises(DataError, match=f"a_train_1.h5 does not go with a_train_0.h5: {words}"):
        open_source(tmp_path)


def test_a_folder_of_two_tasks_is_refused_with_what_was_found_and_how_to_choose(
    tmp_path, write_pdebench, random_fields
):
    write_pdebench(tmp_path / "1D_Advection_Sols_beta1.hdf5", random_fields(2, 4, 8))
    for nu in (0.01, 0.1):
        write_pdebench(tmp_path / f"1D_Burgers_Sols_Nu{nu}.hdf5", random_fields(3, 4, 8))
    for place in (tmp_path, f"{tmp_path}/1D_*"):
        with pytest.raises(DataError) as caught:
            open_source(place)
        assert caught.value.message == (
            f"files of different tasks in {tmp_path}: advection1d (1D_Advection_Sols_beta1.hdf5),"
            " burgers1d (1D_Burgers_Sols_Nu0.01.hdf5 and 1 more)"
        )
    pattern = caught.value.hint.partition("--data '")[2].partition("'")[0]
    assert (open_source(pattern).info.task, open_source(pattern).info.trajectories) == ("advection1d", 2)


def test_files_that_say_no_task_are_not_dropped_beside_those_that_do(tmp_path, write_pdebench, random_fields):
    write_pdebench(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", random_fields(3, 4, 8))
    write_pdebench(tmp_path / "mine.hdf5", random_fields(3, 4, 8))
    with pytest.raises(DataError, match=r"no stated task \(mine.hdf5\)"):
        open_source(tmp_path)


def test_shards_of_another_time_step_are_refused(tmp_path, write_pdebench, random_fields):
    write_pdebench(tmp_path / "a_train_0.h5", random_fields(3, 4, 8))
    write_pdebench(tmp_path / "a_train_1.h5", random_fields(3, 4, 8), dt=0.1)
    with pytest.raises(DataError, match="time step"):
        open_source(tmp_path)


def test_many_shards_keep_few_files_open(tmp_path, write_pdebench, random_fields):
    for number in range(40):
        write_pdebench(tmp_path / f"a_train_{number}.h5", np.full((1, 2, 4), number))
    source = open_source(tmp_path)
    assert source.read(np.arange(40))[:, 0, 0, 0].tolist() == list(range(40))
    opened = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert sum(str(tmp_path) in name for name in opened) <= 32


@pytest.mark.parametrize("content", [b"", b"time,u\n0,1\n", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_hdf5_is_said_in_one_line(tmp_path, content):
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_source(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_truncated_file_is_called_truncated(tmp_path, write_pdebench, random_fields):
    path = write_pdebench(tmp_path / "x.h5", random_fields(4, 10, 64))
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(DataError, match="truncated"):
        open_source(path)


def test_a_damaged_chunk_is_reported_when_it_is_read(tmp_path, write_pdebench, random_fields):
    path = write_pdebench(tmp_path / "x.h5", random_fields(2, 50, 64), chunks=(1, 50, 64), compression="gzip")
    with h5py.File(path) as file:
        place = file["tensor"].id.get_chunk_info(1).byte_offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * 200)
    source = open_source(path)
    source.read([0])
    with pytest.raises(DataError, match="cannot be read"):
        source.read([1])


def test_a_foreign_hdf5_file_is_refused_with_what_it_holds(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros((3, 4))
        file.create_group("optimizer")
    with pytest.raises(DataError, match=r"it holds kernel \(3, 4\), group optimizer") as caught:
        open_source(path)
    assert "PDEBench" in caught.value.hint


def test_an_unreadable_file_is_refused(tmp_path, write_pdebench, random_fields):
    path = write_pdebench(tmp_path / "x.h5", random_fields(2, 3, 8))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads everything")
    with pytest.raises(DataError, match="may not be read"):
        open_source(path)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ([0, 1, 2, 4, 5], "unevenly: step 2 is 2"),
        ([0, 1, 1, 2, 3], "does not rise"),
        ([0, 1, 2], "too short"),
        ([0, 1, np.nan, 3, 4], "non-finite"),
    ],
)
def test_frames_must_be_even_in_time(stored, words):
    with pytest.raises(DataError, match=words):
        time_axis(np.array(stored, np.float32), 5, "file.h5")


@given(st.integers(2, 500), st.floats(1e-4, 10), st.floats(0, 5))
def test_float32_rounding_passes_for_even_time(frames, dt, start):
    axis = (start + dt * np.arange(frames + 1)).astype(np.float32)
    if (np.diff(axis) <= 0).any():
        return
    time, found = time_axis(axis, frames, "file.h5")
    assert len(time) == frames
    assert found == pytest.approx(dt, rel=1e-3 if dt > 1e-3 else 1e-1)


def test_identity_follows_content_and_not_place_or_time(tmp_path, write_pdebench, random_fields):
    path = write_pdebench(tmp_path / "a.h5", random_fields(4, 10, 64))
    copy = tmp_path / "elsewhere" / "a.h5"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    os.utime(copy, (1, 1))
    identity = identity_of(open_source(path))
    assert identity_of(open_source(copy)) == identity
    write_pdebench(copy, random_fields(4, 10, 64, seed=1))
    assert identity_of(open_source(copy)) != identity


def test_a_source_survives_pickling_closing_and_forking(tmp_path, write_pdebench, random_fields):
    values = random_fields(3, 4, 8)
    source = open_source(write_pdebench(tmp_path / "a.h5", values))
    source.read([0])
    assert np.array_equal(pickle.loads(pickle.dumps(source)).read([1])[0, ..., 0], values[1])
    source.close()
    assert np.array_equal(source.read([2])[0, ..., 0], values[2])
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(source.read([1])[0, ..., 0], values[1]) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(source.read([0])[0, ..., 0], values[0])


def test_reading_leaves_the_file_untouched_and_needs_no_write_permission(tmp_path, write_pdebench, random_fields):
    path = write_pdebench(tmp_path / "a.h5", random_fields(3, 4, 8))
    path.chmod(0o444)
    before = path.read_bytes(), path.stat().st_mtime_ns
    open_source(path).read([0, 1, 2])
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_file_of_8_gb_opens_and_gives_a_frame_without_being_read_through(tmp_path):
    path = tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("tensor", (10000, 201, 1024), np.float32)
        data[-1, -1] = 1.0  # gives all of it a place in the file, and takes no space on disk
        file["x-coordinate"] = ((np.arange(1024) + 0.5) / 1024).astype(np.float32)
        file["t-coordinate"] = np.linspace(0, 2.01, 202, dtype=np.float32)
    read_before = read_so_far()
    source = open_source(path)
    assert source.read([9999], [200]).min() == 1
    assert read_so_far() - read_before < 4 << 20


def read_so_far():
    """Bytes that this process asked the system for."""
    return psutil.Process().io_counters().read_chars
