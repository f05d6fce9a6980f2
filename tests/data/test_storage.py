"""Values that a file does not hold are refused where it is opened; HDF5 alone would give zeros in their place."""

import h5py
import numpy as np
import pytest

from ups_engine.data.sources import open_source
from ups_engine.errors import DataError

TRAJECTORIES, FRAMES, POINTS = 6, 5, 16


def write(path, fill):
    """A PDEBench file whose array `fill` makes."""
    with h5py.File(path, "w") as file:
        fill(file)
        file["x-coordinate"] = (np.arange(POINTS) + 0.5) / POINTS
        file["t-coordinate"] = np.arange(FRAMES + 1.0)
    return path


def chunked(file, chunks):
    return file.create_dataset("tensor", (TRAJECTORIES, FRAMES, POINTS), "f4", chunks=chunks)


def virtual(file, parts):
    """The trajectories in halves, each in a file of its own."""
    layout = h5py.VirtualLayout((TRAJECTORIES, FRAMES, POINTS), "f4")
    half = TRAJECTORIES // 2
    for number, part in enumerate(parts):
        source = h5py.VirtualSource(part, "tensor", (half, FRAMES, POINTS))
        layout[number * half : (number + 1) * half] = source
    file.create_virtual_dataset("tensor", layout)


def test_an_array_whose_chunks_are_all_there_is_opened(tmp_path, random_fields):
    values = random_fields(TRAJECTORIES, FRAMES, POINTS)

    def fill(file):
        chunked(file, (4, 2, POINTS))[...] = values

    source = open_source(write(tmp_path / "a.hdf5", fill))
    assert np.array_equal(source.read_span(5, 0, FRAMES, ("u",))[..., 0], values[5])


@pytest.mark.parametrize(
    ("chunks", "written", "words"),
    [
        ((1, 1, POINTS), [(4, 2)], r"3 of 30 chunks of /tensor were never written, at trajectory 4"),
        ((1, FRAMES, POINTS), [(0, 0), (3, 0)], r"2 of 6 chunks of /tensor were never written, at trajectories 0, 3"),
        ((4, FRAMES, POINTS), [(4, 0), (5, 0)], r"1 of 2 chunks of /tensor were never written, at trajectories 4"),
    ],
)
def test_chunks_that_were_never_written_are_counted_and_placed(tmp_path, chunks, written, words):
    def fill(file):
        data, frames = chunked(file, chunks), dict(written)
        for trajectory in range(TRAJECTORIES):
            if upto := frames.get(trajectory, FRAMES):
                data[trajectory, :upto] = 1.0

    with pytest.raises(DataError, match=words):
        open_source(write(tmp_path / "a.hdf5", fill))


def test_an_array_that_was_never_written_at_all_is_refused(tmp_path):
    def fill(file):
        file.create_dataset("tensor", (TRAJECTORIES, FRAMES, POINTS), "f4")

    with pytest.raises(DataError, match="nothing was ever written to /tensor"):
        open_source(write(tmp_path / "a.hdf5", fill))


def test_a_virtual_array_is_read_where_its_parts_are_there_and_refused_where_one_is_not(tmp_path, random_fields):
    values = random_fields(TRAJECTORIES, FRAMES, POINTS)
    for number in range(2):
        with h5py.File(tmp_path / f"part{number}", "w") as part:
            part["tensor"] = values[3 * number : 3 * number + 3]
    path = write(tmp_path / "a.hdf5", lambda file: virtual(file, ["part0", "part1"]))
    assert np.array_equal(open_source(path).read_span(4, 0, FRAMES, ("u",))[..., 0], values[4])
    (tmp_path / "part1").unlink()
    with pytest.raises(DataError, match=r"/tensor takes values from .*part1, which is not there"):
        open_source(path)


def test_a_part_that_was_not_written_to_its_end_is_named_itself(tmp_path):
    with h5py.File(tmp_path / "part", "w") as part:
        part.create_dataset("tensor", (3, FRAMES, POINTS), "f4", chunks=(1, FRAMES, POINTS))[:2] = 1.0
    with pytest.raises(DataError, match=r"part: 1 of 3 chunks of /tensor were never written, at trajectory 2"):
        open_source(write(tmp_path / "a.hdf5", lambda file: virtual(file, ["part", "part"])))


def test_a_filter_that_is_not_installed_is_named_and_the_file_not_called_damaged(tmp_path):
    def fill(file):
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, FRAMES, POINTS))
        properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2, 4, 256, 5, 1, 0))
        space = h5py.h5s.create_simple((TRAJECTORIES, FRAMES, POINTS))
        data = h5py.h5d.create(file.id, b"tensor", h5py.h5t.IEEE_F32LE, space, properties)
        for trajectory in range(TRAJECTORIES):
            data.write_direct_chunk((trajectory, 0, 0), bytes(4 * FRAMES * POINTS), 0)

    with pytest.raises(DataError, match=r"compressed by HDF5 filter 32001.* not installed") as refused:
        open_source(write(tmp_path / "a.hdf5", fill))
    assert "hdf5plugin" in refused.value.hint and "damaged" not in refused.value.message
