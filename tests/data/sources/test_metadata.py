"""What files say of their arrays is believed, or contradicted aloud: the same waves as other programs store them."""

import json

import h5py
import numpy as np
import pytest

from ups_engine.data.inspect import describe
from ups_engine.data.prepare import prepare_data
from ups_engine.data.sources import open_source
from ups_engine.errors import DataError

N, T, X = 20, 12, 64
x, t = np.arange(X) / X, np.arange(T) * 0.1
_rng = np.random.default_rng(1)
_at, _phase = x - 0.4 * t[:, None], _rng.uniform(0, 1, (N, 1, 1))
u = _rng.uniform(0.5, 1, (N, 1, 1)) * np.sin(2 * np.pi * (_at + _phase)) + 0.3 * np.sin(4 * np.pi * (_at + 2 * _phase))
f4 = u.astype("f4")


def save(path, attributes=None, **arrays):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key.replace("_", "-")] = array
        file.attrs.update(attributes or {})
    return path


def netcdf(path, values, axes, positions, **attributes):
    """`data` with a dimension scale for each axis, which has positions or, as NetCDF-4 writes it, is a mere name."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=values)
        for number, name in enumerate(axes):
            bare = f"This is a netCDF dimension but not a netCDF variable. {values.shape[number]:9d}"
            scale = file.create_dataset(name, data=positions.get(name, np.zeros(values.shape[number], ">f4")))
            scale.make_scale(name if name in positions else bare)
            data.dims[number].attach_scale(scale)
        data.attrs.update({key: np.array([value]) for key, value in attributes.items()})
        data.attrs["units"] = "m s-1"
    return path


def matlab(path, attributes=None, **arrays):
    """As MATLAB 7.3 writes arrays: axes reversed, vectors as columns."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = np.atleast_2d(array).T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
        file.attrs.update(attributes or {})
    return path


def read_as(path, values, dt=0.1, rtol=1e-6):
    """Open a file and find these values (N, T, X) in it, whichever way they are asked for."""
    source = open_source(path)
    assert (source.info.trajectories, source.info.frames, source.info.resolution) == (N, T, (X,))
    assert source.info.dt == (None if dt is None else pytest.approx(dt, rel=1e-6))
    assert source.read(range(N))[..., 0] == pytest.approx(values, rel=rtol, abs=rtol)
    some = source.read([7, 3], [[1, 5], [0, 11]], spatial_stride=4)[..., 0]
    assert some == pytest.approx(values[[[7], [3]], [[1, 5], [0, 11]], ::4], rel=rtol, abs=rtol)
    return source


def refused(path, *words):
    with pytest.raises(DataError) as caught:
        open_source(path)
    said = f"{caught.value.message} {caught.value.hint}"
    for word in words:
        assert word in said
    return said


@pytest.mark.parametrize("axes", [("sample", "time", "x"), ("time", "sample", "x"), ("x", "time", "sample")])
def test_axes_are_read_by_the_names_that_the_file_gives_them(tmp_path, axes):
    values = f4.transpose([("sample", "time", "x").index(name) for name in axes])
    source = read_as(netcdf(tmp_path / "a.nc", values, axes, {"time": t, "x": x}), f4)
    assert source.info.coordinates[0] == pytest.approx(x)
    assert source.info.fields[0].unit == "m s-1"
    straight = axes[0] == "sample"
    assert any("stored in another order: by the names" in note for note in source.info.notes) != straight
    # the earlier misreading was other data: a run of it is told so by the format in its identity
    assert (source.info.format == "converted `data` array") == straight


@pytest.mark.parametrize("chunks", [None, (16, 5, 3)])
def test_labels_name_axes_as_dimension_scales_do(tmp_path, chunks):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=f4.transpose(2, 1, 0), chunks=chunks)
        for axis, name in enumerate(("x", "time", "trajectory")):
            data.dims[axis].label = name
        file.attrs["dt"] = [0.1]
    read_as(tmp_path / "a.h5", f4)


def test_axes_of_space_are_taken_in_the_order_of_their_names(tmp_path, random_fields):
    values = random_fields(4, 3, 6, 8, 2)
    scales = {"y": np.arange(6) / 2, "x": np.arange(8) / 4}
    path = netcdf(tmp_path / "a.nc", np.moveaxis(values, -1, 2), ("run", "time", "component", "y", "x"), scales)
    source = open_source(path)
    assert (source.info.resolution, source.info.channels) == ((8, 6), 2)
    assert [axis[-1] for axis in source.info.coordinates] == [1.75, 2.5]
    assert np.array_equal(source.read(range(4)), values.swapaxes(2, 3))
    assert source.head(1, 2) == open_source(path).read([1], [2])[0, 0].tobytes()


def test_one_run_is_never_read_as_many(tmp_path, random_fields):
    grid = random_fields(24, 33, 64)
    places = {"time": np.arange(24) * 6.0, "lat": np.linspace(90, -90, 33), "lon": np.arange(64) * 5.625}
    named = netcdf(tmp_path / "a.nc", grid, tuple(places), places)
    refused(named, "axes (time, lat, lon): instants of one run", "windows of this one")
    for arrays in (places, {"times": places["time"]}, {"lat": places["lat"], "lon": places["lon"]}):
        refused(save(tmp_path / "b.h5", data=grid, **arrays), "instants of one run are no trajectories", "windows")
    # one instant more than points: only PDEBench's own t-coordinate may be longer than the frames
    refused(save(tmp_path / "e.h5", data=random_fields(33, 32, 32), times=np.arange(33) * 0.1), "instants of one run")
    frames = {"t_coordinate": np.arange(24), "x_coordinate": np.arange(24), "y_coordinate": np.arange(64)}
    refused(save(tmp_path / "f.h5", tensor=random_fields(24, 24, 64), **frames), "instants of one run")
    vectors = random_fields(30, 16, 16, 2)
    refused(save(tmp_path / "g.h5", data=vectors, t=np.arange(30) * 0.1), "t has 30 values", "instants of one run")
    square = random_fields(32, 32, 32)
    refused(save(tmp_path / "c.h5", data=square, times=np.arange(32) * 0.1), "instants of one run")
    refused(save(tmp_path / "d.h5", data=square, x=np.arange(32) * 0.1, y=np.arange(32)), "instants of one run")


def test_a_time_axis_that_fits_another_dimension_is_contradicted(tmp_path):
    turned = f4.transpose(0, 2, 1)
    said = refused(save(tmp_path / "a.h5", data=turned, t=t), "t has 12 values, as many as the third axis", "dims[i]")
    assert "['sample', 'time', 'x']" in said
    refused(save(tmp_path / "b.h5", data=turned, t_coordinate=t), "t-coordinate has 12 values, as many as the third")
    refused(save(tmp_path / "c.h5", data=f4.transpose(2, 1, 0), x=x, time=t), "x has 64 values, as many as the first")


@pytest.mark.parametrize("labels", [("time", "", ""), ("", "", "time"), ("x", "time", "")])
def test_names_of_some_axes_that_contradict_the_layout_are_refused(tmp_path, labels):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = f4
        for axis, name in enumerate(labels):
            file["data"].dims[axis].label = name
    refused(tmp_path / "a.h5", "where UPS expects (N, T, X)", "file['data'].dims[i].label")


def test_names_that_say_nothing_leave_the_layouts_order(tmp_path):
    read_as(netcdf(tmp_path / "a.nc", f4, ("case_id", "time", "dim_2"), {"time": t}), f4)


def test_a_dimension_scale_that_was_deleted_names_nothing(tmp_path):
    path = netcdf(tmp_path / "a.nc", f4, ("sample", "time", "x"), {"time": t, "x": x})
    with h5py.File(path, "r+") as file:
        del file["time"], file["sample"]
    read_as(path, f4, dt=None)


def test_matlabs_reversed_order_is_undone_where_the_axes_prove_it(tmp_path):
    source = read_as(matlab(tmp_path / "a.mat", data=u, x=x, t=t), u)
    assert "MATLAB's order" in source.info.notes[0]
    read_as(matlab(tmp_path / "b.mat", data=u.transpose(2, 1, 0), x=x, t=t), u)
    read_as(matlab(tmp_path / "e.mat", data=u, x=x, t=np.tile(t, (N, 1))), u)
    refused(matlab(tmp_path / "c.mat", {"dt": 0.1}, data=u), "is MATLAB's, (20, 12, 64) there", "save('FILE', 'data'")
    square = u[:, :, :N]
    refused(matlab(tmp_path / "d.mat", data=square, x=x[:N], t=t), "its axes t, x fit both")


@pytest.mark.parametrize(
    ("stored", "attributes", "values", "rtol"),
    [
        (np.round(u * 1e4).astype("i2"), {"scale_factor": 1e-4, "_FillValue": np.int16(-32768)}, u, 1e-4),
        (((u - 273.15) / 0.01).astype("f4"), {"scale_factor": 0.01, "add_offset": 273.15}, u, 1e-4),
        (np.round((u + 2) * 50).astype("u1"), {"scale_factor": 0.02, "add_offset": -2.0, "_FillValue": -1}, u, 1e-2),
        ((u * 1000).astype("i4"), {}, (u * 1000).astype("i4"), 1e-6),
        (u.astype("f2"), {}, u.astype("f2"), 1e-6),
        (u.astype(">f8"), {}, u, 1e-6),
    ],
)
@pytest.mark.parametrize("layout", ["data", "tensor"])
def test_numbers_are_read_as_they_are_meant(tmp_path, layout, stored, attributes, values, rtol):
    path = save(tmp_path / "a.h5", **{layout: stored}, x_coordinate=x.astype(">f8"), t_coordinate=t)
    with h5py.File(path, "r+") as file:
        file[layout].attrs.update(attributes)
    source = read_as(path, values, rtol=rtol)
    scaled = "scale_factor" in attributes
    assert source.info.fields[0].dtype == ("float64" if scaled else str(stored.dtype))
    assert source.info.format.endswith(", scaled") == scaled
    assert any("is read as what is stored *" in note for note in source.info.notes) == scaled


def test_packed_numbers_are_unpacked_in_double_precision(tmp_path):
    path = save(tmp_path / "a.h5", {"dt": 0.1}, data=np.arange(N * T * X, dtype="i4").reshape(N, T, X))
    with h5py.File(path, "r+") as file:
        file["data"].attrs.update({"scale_factor": 1e-6, "add_offset": 101325.0})
    values = open_source(path)._array("u")[3, 2:4]
    assert values.dtype == np.float64
    assert values[0, 5] - 101325 == pytest.approx((3 * T * X + 2 * X + 5) * 1e-6, rel=1e-4)


@pytest.mark.parametrize(("key", "value"), [("scale_factor", 0.0), ("scale_factor", "1e-4"), ("add_offset", np.nan)])
def test_factors_that_give_no_values_are_refused(tmp_path, key, value):
    path = save(tmp_path / "a.h5", {"dt": 0.1}, data=f4)
    with h5py.File(path, "r+") as file:
        file["data"].attrs[key] = value
    refused(path, key)


@pytest.mark.parametrize(
    ("mark", "attribute"),
    [(9.969209968386869e36, "_FillValue"), (-9999.0, "_FillValue"), (1e20, "missing_value"), (np.nan, None)],
)
@pytest.mark.parametrize("rows", [slice(3, 4), slice(None)])
def test_absent_values_are_never_trained_on(tmp_path, settings_for, mark, attribute, rows):
    values = f4.copy()
    values[rows, :, 20:24] = mark
    path = netcdf(tmp_path / "a.nc", values, ("sample", "time", "x"), {"time": t, "x": x})
    with h5py.File(path, "r+") as file:
        if attribute:
            file["data"].attrs[attribute] = np.array([mark])  # float64 beside float32
    shown = describe(path, settings_for())
    assert not shown.fields[0].finite or rows == slice(3, 4)
    assert -2 < shown.fields[0].low < shown.fields[0].high < 2
    if attribute:
        assert f"values of data that equal {mark:g} are absent" in shown.plan[0]
    first = range(N)[rows][0]
    told = []
    with pytest.raises(DataError, match="finite") as caught:
        prepare_data(settings_for(f"data.path={path}"), notify=told.append)
    assert told == list(shown.info.notes)
    assert f"trajectory {first}, frame 0" in caught.value.message
    assert "non-finite values" in caught.value.message
    if rows == slice(None):
        assert "the last trajectory lacks the same points: UPS reads no masks" in caught.value.hint
    else:
        assert "data.exclude=[3]" in caught.value.hint
        prepare_data(settings_for(f"data.path={path}", "data.exclude=[3]"))


def test_netcdfs_own_fill_value_is_absence_without_an_attribute(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (N, T, X), "f4", fillvalue=9.969209968386869e36)
        data[:, :-1] = f4[:, :-1]
    values = open_source(tmp_path / "a.h5").read([0])
    assert np.isnan(values[0, -1]).all()
    assert np.isfinite(values[0, :-1]).all()


def test_axes_of_a_whole_grid_beside_a_thinned_field_are_refused(tmp_path):
    thinned = f4[:, ::4, ::4]
    said = refused(save(tmp_path / "a.h5", tensor=thinned, x_coordinate=x, t_coordinate=t))
    assert "t-coordinate has 12 values for 3 points" in said
    assert "file['t-coordinate'] = a[::4]" in said
    said = refused(save(tmp_path / "b.h5", tensor=thinned, x_coordinate=x, t_coordinate=t[::4]))
    assert "x-coordinate has 64 values for 16 points" in said
    said = refused(save(tmp_path / "f.h5", tensor=f4, x_coordinate=np.arange(X + 1), t_coordinate=t))
    assert "(a[1:] + a[:-1]) / 2 if they are the cells' edges" in said
    refused(save(tmp_path / "c.h5", data=f4[:, ::3], t=t), "t has 12 values for 4 points")
    refused(save(tmp_path / "d.h5", data=f4[:, :, ::2], x=x, t=t), "x has 64 values for 32 points")
    read_as(save(tmp_path / "e.h5", tensor=f4, x_coordinate=x, t_coordinate=np.arange(T + 1) * 0.1), f4)


@pytest.mark.parametrize("layout", ["data", "tensor"])
@pytest.mark.parametrize(
    ("places", "times"),
    [(x[:, None], t[:, None]), (x[None], t[None]), (x, np.tile(t, (N, 1))), (np.tile(x, (N, 1)), t)],
)
def test_axes_stored_as_columns_or_for_every_trajectory_are_read(tmp_path, layout, places, times):
    source = read_as(save(tmp_path / "a.h5", **{layout: f4}, x_coordinate=places, t_coordinate=times), f4)
    assert source.info.coordinates[0] == pytest.approx(x)


def test_times_that_differ_from_trajectory_to_trajectory_are_refused(tmp_path):
    times = np.tile(t, (N, 1))
    times[5] *= 2
    words = "t-coordinate has shape (20, 12) and is not the same for every trajectory"
    refused(save(tmp_path / "a.h5", tensor=f4, x_coordinate=x, t_coordinate=times), words)
    refused(save(tmp_path / "b.h5", data=f4, t=times), "t has shape (20, 12) and is not the same")
    # what is called x alone may be anything
    read_as(save(tmp_path / "c.h5", {"dt": 0.1}, data=f4, x=f4[:, 0]), f4)


@pytest.mark.parametrize("layout", ["data", "tensor"])
def test_a_field_on_a_falling_axis_is_read_on_a_rising_one(tmp_path, layout):
    path = save(tmp_path / "a.h5", **{layout: f4[..., ::-1]}, x_coordinate=x[::-1], t_coordinate=t)
    source = read_as(path, f4)
    assert source.info.coordinates[0] == pytest.approx(x)
    assert source.head(2, 1) == f4[2, 1].tobytes()
    assert "positions along x fall in the file" in source.info.notes[0]


def test_labelled_axes_take_what_is_stored_beside_the_array(tmp_path, random_fields):
    values = random_fields(3, 6, 5, 4)
    beside = {"t_coordinate": np.arange(7) * 0.5, "y": np.arange(5) / 8, "x": np.arange(4) / 2}
    path = save(tmp_path / "a.h5", data=values, **beside)
    with h5py.File(path, "r+") as file:
        for axis, name in enumerate(("sample", "time", "y", "x")):
            file["data"].dims[axis].label = name
    info = open_source(path).info
    assert (info.dt, info.resolution, [axis[1] for axis in info.coordinates]) == (0.5, (4, 5), [0.5, 0.125])


def test_a_count_of_frames_is_no_time(tmp_path):
    assert open_source(save(tmp_path / "a.h5", data=f4, t=np.arange(T))).info.dt is None
    assert open_source(save(tmp_path / "b.h5", {"dt": 0.1}, data=f4, t=np.arange(T))).info.dt == 0.1
    path = save(tmp_path / "c.h5", data=f4, time=np.arange(T))
    with h5py.File(path, "r+") as file:
        file["time"].attrs["units"] = "days since 2000-01-01"
    assert open_source(path).info.dt == 1


def test_an_attribute_dt_that_contradicts_the_time_axis_is_told(tmp_path):
    source = read_as(save(tmp_path / "a.h5", {"dt": 0.001}, tensor=f4, x_coordinate=x, t_coordinate=t), f4)
    assert source.info.notes == ("the attribute dt of the file says 0.001, its time axis 0.1: the time axis is taken",)


def test_numbers_without_sign_under_a_type_with_sign_are_refused(tmp_path):
    path = save(tmp_path / "a.h5", {"dt": 0.1}, data=np.zeros((N, T, X), "i1"))
    with h5py.File(path, "r+") as file:
        file["data"].attrs["_Unsigned"] = "true"
    refused(path, "_Unsigned", "uint8")


def test_uneven_times_are_refused_and_not_averaged(tmp_path):
    path = save(tmp_path / "a.h5", tensor=f4, x_coordinate=x, t_coordinate=np.geomspace(0.01, 1, T))
    refused(path, "t-coordinate is spaced unevenly", "resample")
    refused(save(tmp_path / "b.h5", tensor=f4, x_coordinate=x, t_coordinate=t[::-1]), "t-coordinate does not rise")


def test_complex_fields_are_refused_with_their_number_format(tmp_path):
    path = save(tmp_path / "a.h5", tensor=u + 1e-9j * u, x_coordinate=x, t_coordinate=t)
    refused(path, "tensor (20, 12, 64) of complex128", "of real numbers")


def test_a_last_axis_of_one_channel_is_no_riddle(tmp_path):
    source = read_as(save(tmp_path / "a.h5", {"dt": 0.1}, data=f4[..., None]), f4)
    assert source.info.channels == 1
    refused(save(tmp_path / "b.h5", data=np.zeros((4, 3, 8, 8))), "(N, T, X, C) or (N, T, H, W)", "'x', 'y'")
    refused(save(tmp_path / "c.h5", data=np.zeros((4, 3, 8, 2))), "nothing in the file tells", "'x', 'channel'")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["x"], file["y"] = np.arange(8), np.arange(8)
    assert open_source(tmp_path / "b.h5").info.resolution == (8, 8)


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ((8, 32, 32), None),
        ((3, 64, 64), None),
        ((1, 64, 64), None),
        ((32, 32, 32), None),
        ((2, 16, 24), None),
        ((40, 16, 16), None),
        ((32, 32, 8), ((32, 32), 8)),
        ((6, 8, 2), ((6, 8), 2)),
        ((64, 64, 1), ((64, 64), 1)),
        ((4, 4, 3), ((4, 4), 3)),
        ((32, 64, 20), ((32, 64), 20)),
        ((8, 9, 10, 3), ((8, 9, 10), 3)),
        ((3, 8, 8, 8), None),
    ],
)
def test_channels_are_taken_from_the_last_axis_only_where_it_is_the_smallest(tmp_path, shape, read):
    path = save(tmp_path / "a.h5", {"dt": 0.1}, data=np.zeros((3, 4, *shape), "f4"))
    if read is None:
        refused(path, "channels first", "['sample', 'time', 'channel', 'x', 'y'")
    else:
        info = open_source(path).info
        assert (info.resolution, info.channels) == read
        assert any("taken for 20 channels" in note for note in info.notes) == (shape[-1] == 20)


def test_channels_first_are_read_once_the_file_says_so(tmp_path, random_fields):
    values = random_fields(3, 4, 8, 32, 32)
    path = save(tmp_path / "a.h5", {"dt": 0.1}, data=values)
    with h5py.File(path, "r+") as file:
        for i, a in enumerate(["sample", "time", "channel", "x", "y"]):
            file["data"].dims[i].label = a
    source = open_source(path)
    assert np.array_equal(source.read([2, 0], [1]), np.moveaxis(values[[2, 0]][:, [1]], 2, -1))


def test_many_channels_last_are_read_where_the_axes_prove_them(tmp_path, random_fields):
    path = save(
        tmp_path / "a.h5", data=random_fields(3, 4, 8, 8, 12), x_coordinate=np.arange(8), y_coordinate=np.arange(8)
    )
    assert open_source(path).info.resolution == (8, 8)


def test_units_are_shown_where_the_file_says_them(tmp_path, settings_for):
    path = netcdf(tmp_path / "a.nc", f4, ("sample", "time", "x"), {"time": t, "x": x})
    with h5py.File(path, "r+") as file:
        file["time"].attrs["units"] = "hours since 2000-01-01"
        file["x"].attrs["units"] = np.array(["km"], h5py.string_dtype())
    shown = json.loads(json.dumps(describe(path, settings_for()).to_json()))
    assert shown["time"] == {"first": 0, "last": pytest.approx(1.1), "unit": "hours since 2000-01-01"}
    assert (shown["coordinates"][0]["unit"], shown["fields"][0]["unit"]) == ("km", "m s-1")


def test_a_file_in_another_order_that_lacks_values_is_refused(tmp_path, settings_for):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (X, T, N), "f4", chunks=(16, T, N))
        data[:48] = f4.transpose(2, 1, 0)[:48]
        for axis, name in enumerate(("x", "time", "sample")):
            data.dims[axis].label = name
        file.attrs["dt"] = 0.1
    with pytest.raises(DataError, match=r"1 of 4 chunks of data were never written"):
        prepare_data(settings_for(f"data.path={tmp_path / 'a.h5'}"))


def test_a_run_is_told_how_its_data_are_read(tmp_path, settings_for):
    path = netcdf(tmp_path / "a.nc", f4.transpose(1, 0, 2), ("time", "sample", "x"), {"time": t, "x": x})
    told = []
    member = prepare_data(settings_for(f"data.path={path}"), notify=told.append).members[0]
    assert [line for line in told if "read as (20, 12, 64), stored in another order" in line]
    assert member.read(np.array([4]))[0, ..., 0] == pytest.approx(f4[4])


def test_files_of_several_say_how_they_are_read_once(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.h5", data=f4[..., ::-1] + number, x=x[::-1], t=t)
    source = open_source(tmp_path)
    assert source.info.notes == open_source(tmp_path / "0.h5").info.notes
    assert len(source.info.notes) == 1
    assert source.read([N + 3])[0, ..., 0] == pytest.approx(f4[3] + 1)
