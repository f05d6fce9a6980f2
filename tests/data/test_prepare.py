"""prepare_data: from settings to fields, strided, split, normalised, and the same again from a record."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ups_engine.data.collection import Collection
from ups_engine.data.prepare import prepare_data
from ups_engine.data.survey import recorded_members, survey_data
from ups_engine.data.tasks import SOLVED
from ups_engine.errors import DataError, SettingsError
from ups_engine.formats import FormatError

RECORDED = Path(__file__).parent.parent / "recorded"
SMALL = [f"data.generate.{pair}" for pair in ("trajectories=6", "points=32", "frames=5", "t_end=0.2")]


def member(*arguments, **options):
    (only,) = prepare_data(*arguments, **options).members
    return only


@pytest.fixture
def burgers(tmp_path, write_pdebench, random_fields):
    values = random_fields(20, 9, 32)
    return write_pdebench(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", values), values


def test_strides_and_normalisation_are_numpys(burgers, settings_for):
    path, values = burgers
    dataset = member(settings_for(f"data.path={path}", "data.spatial_stride=4", "data.time_stride=2"))
    expected = values[:, ::2, ::4, None]
    assert np.array_equal(dataset.read(np.array([3, 19])), expected[[3, 19]])
    assert (dataset.frames, dataset.channels, dataset.field_names) == (5, 1, ("u",))
    assert dataset.dt == pytest.approx(0.1)
    assert (dataset.discretisation.shape, dataset.discretisation.points, dataset.discretisation.periodic) == (
        (8,),
        8,
        (True,),
    )
    assert dataset.discretisation.lengths == pytest.approx((1.0,), rel=1e-6)
    train = expected[dataset.splits.train].astype(np.float64)
    assert dataset.normalisation.mean[0] == pytest.approx(train.mean(), rel=1e-5)
    assert dataset.normalisation.std[0] == pytest.approx(train.std(), rel=1e-5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_ram_and_disk_give_the_same_fields(data, burgers, settings_for):
    path, values = burgers
    space, time = data.draw(st.sampled_from([1, 2, 8])), data.draw(st.integers(1, 4))
    common = [f"data.path={path}", f"data.spatial_stride={space}", f"data.time_stride={time}"]
    kept = member(settings_for(*common))
    lazy = member(settings_for(*common, "latent.residency='disk'"))
    read, from_disk = lazy.source.read, []
    lazy.source.read = lambda *asked, **options: from_disk.append(asked) or read(*asked, **options)
    kept.source.read = None  # from here on, all comes from RAM
    rows = np.array(data.draw(st.lists(st.integers(0, 19), min_size=1, max_size=6)))
    frame = st.integers(0, kept.frames - 1)
    own = np.array(data.draw(st.lists(st.lists(frame, min_size=3, max_size=3), min_size=len(rows), max_size=len(rows))))
    for frames in (None, own[0], own):
        got = kept.read(rows, frames)
        assert np.array_equal(got, lazy.read(rows, frames))
        table = np.arange(kept.frames) if frames is None else frames
        expected = values[rows[:, None], np.broadcast_to(table, (len(rows), table.shape[-1])) * time]
        assert np.array_equal(got[..., 0], expected[..., ::space])
    assert len(from_disk) == 3
    assert np.array_equal(kept.normalisation.mean, lazy.normalisation.mean)


def test_a_read_is_a_copy(burgers, settings_for):
    dataset = member(settings_for(f"data.path={burgers[0]}"))
    dataset.read(np.array([4]))[:] = 7
    assert np.array_equal(dataset.read(np.array([4]))[0, ..., 0], burgers[1][4])


@pytest.mark.parametrize("frames", [[9], [-1]])
@pytest.mark.parametrize("residency", ["auto", "disk"])
def test_frames_that_do_not_exist_are_refused(burgers, settings_for, frames, residency):
    dataset = member(settings_for(f"data.path={burgers[0]}", f"latent.residency='{residency}'"))
    with pytest.raises(IndexError):
        dataset.read(np.array([0]), np.array(frames))


def test_a_record_restores_everything_to_the_bit(burgers, settings_for, monkeypatch, tmp_path):
    given_settings = settings_for(f"data.path={burgers[0]}", "data.exclude=[2]", "data.trajectories=15")
    made = prepare_data(given_settings)
    record = json.loads(json.dumps(made.record()))
    monkeypatch.chdir(tmp_path)
    again = prepare_data(given_settings, record)
    assert again.record() == record
    (first,), (second,) = made.members, again.members
    for name in ("train", "val", "test"):
        assert np.array_equal(first.splits.of(name), second.splits.of(name))
    assert np.array_equal(first.normalisation.mean, second.normalisation.mean)
    assert np.array_equal(first.normalisation.std, second.normalisation.std)
    rows = first.splits.all()
    assert 2 not in rows
    assert len(rows) == 15
    assert np.array_equal(first.parameters(rows), second.parameters(rows))


def test_a_record_finds_its_files_moved_and_refuses_others(burgers, settings_for, tmp_path, write_pdebench):
    path, values = burgers
    record = prepare_data(settings_for(f"data.path={path}")).record()
    moved = tmp_path / "moved" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    assert member(settings_for(f"data.path={moved}"), record).record()["splits"] == record["members"][0]["splits"]
    write_pdebench(path, values + 1)
    with pytest.raises(DataError, match="not the data that this run was made with"):
        member(settings_for(f"data.path={path}"), record)


def test_a_record_of_the_first_version_gives_the_same_member(burgers, settings_for):
    chosen = settings_for(f"data.path={burgers[0]}")
    now = prepare_data(chosen).record()
    (known,) = now["members"]
    first = {
        "version": 1,
        **{
            key: value for key, value in known.items() if key not in ("name", "discretisation", "scaling", "boundaries")
        },
    }
    first["grid"] = {key: value for key, value in known["discretisation"].items() if key != "kind"}
    first["conditioning"] = known["scaling"]
    known["boundaries"] = [{"kind": "periodic", "from": "earlier record of the run"}]
    assert prepare_data(chosen, first).record() == now


@pytest.mark.parametrize("run", ["finished", "parked"])
def test_records_of_recorded_runs_are_read(run):
    stored = json.loads((RECORDED / "format1" / run / "data.json").read_text())
    (known,) = recorded_members(stored)
    assert known["name"] == known["task"] == "burgers1d"
    assert known["scaling"] == stored["conditioning"]
    assert {"kind": "grid", **stored["grid"]} == known["discretisation"]


def test_a_record_of_a_newer_ups_is_refused(burgers, settings_for):
    with pytest.raises(FormatError, match=r"data record\) is of version 5; this UPS reads up to version 4"):
        prepare_data(settings_for(f"data.path={burgers[0]}"), {"version": 5, "members": []})


def test_a_record_conditions_on_what_it_names_though_files_say_more(
    tmp_path, write_pdebench, random_fields, settings_for
):
    for number, nu in enumerate((0.01, 0.1)):
        said = {"nu": nu, "beta": 1.0 - number}
        write_pdebench(tmp_path / f"{number}.h5", random_fields(10, 3, 8, seed=number), attributes=said)
    chosen = settings_for(f"data.path={tmp_path}")
    made = prepare_data(chosen)
    (record,) = made.record()["members"]
    at = record["scaling"]["names"].index("nu")
    record["scaling"] = {key: [value[at]] for key, value in record["scaling"].items()}
    (kept,) = prepare_data(chosen, {"version": 2, "members": [record]}).members
    rows = np.array([0, 15])
    assert kept.parameter_names == ("nu",)
    assert np.array_equal(kept.parameters(rows)[:, 0], made.members[0].parameters(rows)[:, at])
    assert kept.physical_parameters(rows).tolist() == [[0.01], [0.1]]
    record["scaling"]["names"] = ["rho"]
    with pytest.raises(DataError, match="does not say the parameter rho"):
        prepare_data(chosen, {"version": 2, "members": [record]})


def test_a_survey_of_a_record_says_what_its_members_are(burgers, settings_for):
    chosen = settings_for(f"data.path={burgers[0]}", "data.spatial_stride=2")
    made = prepare_data(chosen)
    for record in (None, made.record()):
        (seen,), (known,) = survey_data(chosen, record), made.members
        assert (seen.name, seen.frames, seen.dt, seen.channels) == (known.name, known.frames, known.dt, known.channels)
        assert seen.splits.to_json() == known.splits.to_json()
        assert seen.discretisation.to_json() == known.discretisation.to_json()
        assert (seen.parameter_names, seen.to_make) == (known.parameter_names, None)


def test_a_record_that_names_a_task_keeps_it_where_the_files_say_none(
    tmp_path, write_pdebench, random_fields, settings_for
):
    chosen = settings_for(f"data.path={write_pdebench(tmp_path / 'mine.h5', random_fields(8, 3, 8))}")
    record = prepare_data(chosen).record()
    assert (record["members"][0]["name"], record["members"][0]["task"]) == ("unknown", "unknown")
    record["members"][0] |= {"name": "burgers1d", "task": "burgers1d"}  # as runs of before named all such data
    assert prepare_data(chosen, record).record() == record


def test_members_of_a_collection_have_names_of_their_own(tmp_path, write_pdebench, random_fields, settings_for):
    paths = [write_pdebench(tmp_path / f"{task}_train.h5", random_fields(8, 3, 8)) for task in ("one", "other")]
    one, other = (member(settings_for(f"data.path={path}")) for path in paths)
    both = Collection([one, other])
    assert [each.name for each in both.members] == ["one", "other"]
    record = both.record()
    assert [each.name for each in prepare_data(settings_for(f"data.path={paths[0]}"), record).members] == [
        "one",
        "other",
    ]
    for wrong in ([one, one], []):
        with pytest.raises(ValueError, match="one at least, and no name twice"):
            Collection(wrong)


def test_a_first_sample_that_is_not_well_formed_is_named(tmp_path, write_pdebench, random_fields, settings_for):
    values = random_fields(12, 3, 8)
    values[0, 0, 3] = np.nan
    path = write_pdebench(tmp_path / "a.h5", values)
    with pytest.raises(DataError, match=r"a.h5, trajectory 0, frame 0: sample field 'u' holds 1 non-finite") as caught:
        prepare_data(settings_for(f"data.path={path}", "data.exclude=[4]"))
    assert caught.value.hint == "leave it out with --set 'data.exclude=[0,4]'"
    assert 0 not in member(settings_for(f"data.path={path}", "data.exclude=[0]")).splits.all()


def test_a_record_refuses_to_be_read_with_other_strides(burgers, settings_for):
    record = prepare_data(settings_for(f"data.path={burgers[0]}")).record()
    with pytest.raises(SettingsError, match="strides"):
        member(settings_for(f"data.path={burgers[0]}", "data.time_stride=2"), record)


def test_without_files_data_is_made_once_and_kept_under_the_root(settings_for, tmp_path):
    told = []
    first = member(settings_for(*SMALL), notify=told.append)
    assert first.task == "burgers1d"
    assert first.info.files[0].parent == tmp_path / "root" / "generated"
    assert any("solving burgers1d: 6 trajectories" in line for line in told)
    told.clear()
    second = prepare_data(settings_for(*SMALL), notify=told.append)
    assert "used again" in told[0]
    assert second.members[0].record() == first.record()
    told.clear()
    prepare_data(settings_for(*SMALL), second.record(), told.append)
    assert told == [], "a record has said which"


def test_files_of_the_task_under_the_root_go_before_making(settings_for, tmp_path, write_converted, random_fields):
    (tmp_path / "root").mkdir()
    write_converted(tmp_path / "root" / "burgers1d_train.h5", random_fields(8, 4, 16), dt=0.1)
    assert member(settings_for()).info.files[0].name == "burgers1d_train.h5"


def test_a_task_without_files_or_solver_is_one_clear_message(settings_for):
    with pytest.raises(DataError, match="'darcy2d'") as caught:
        member(settings_for("data.task=darcy2d"))
    assert f"solvers: {', '.join(SOLVED)}" in caught.value.hint


@pytest.mark.parametrize("residency", ["auto", "disk"])
def test_non_finite_values_are_found_and_located(tmp_path, write_pdebench, random_fields, settings_for, residency):
    values = random_fields(20, 9, 32)
    values[7, 4, 5] = np.nan
    path = write_pdebench(tmp_path / "a.h5", values)
    common = [f"data.path={path}", f"latent.residency='{residency}'"]
    with pytest.raises(DataError, match="trajectory 7, frame 4") as caught:
        member(settings_for(*common, "data.time_stride=2", "data.exclude=[3]"))
    assert "data.exclude=[3,7]" in caught.value.hint
    assert 7 not in member(settings_for(*common, "data.exclude=[7]")).splits.all()


def test_a_bad_value_in_a_shard_is_located_in_its_own_file(tmp_path, write_pdebench, random_fields, settings_for):
    for number in range(2):
        values = random_fields(12, 3, 8, seed=number)
        if number:
            values[5, 1] = np.inf
        write_pdebench(tmp_path / f"x_train_{number}.h5", values)
    with pytest.raises(DataError, match=r"x_train_1.h5 .* trajectory 5 \(trajectory 17 of all files\), frame 1"):
        member(settings_for(f"data.path={tmp_path}"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.spatial_stride=3", "does not divide the 32 points"),
        ("data.spatial_stride=32", "fewer than 2 of 32 points"),
        ("data.time_stride=9", "fewer than 2 of 9 frames"),
        ("data.frames=10", "the data has 9 frames"),
        ("data.dt=0.1", "says 0.05"),
        ("data.trajectories=21", "holds 20"),
        ("data.exclude=[20]", "there are 20"),
    ],
)
def test_settings_that_do_not_go_with_the_data_are_refused(burgers, settings_for, override, words):
    with pytest.raises(SettingsError, match=words):
        member(settings_for(f"data.path={burgers[0]}", override))


def test_a_field_that_is_not_there_is_refused(burgers, settings_for):
    with pytest.raises(DataError, match="no field 'rho'"):
        member(settings_for(f"data.path={burgers[0]}", "data.fields=['rho']"))


def test_a_time_step_is_asked_for_where_the_file_has_none(tmp_path, write_converted, random_fields, settings_for):
    path = write_converted(tmp_path / "x.h5", random_fields(5, 4, 4, 4, 1))
    with pytest.raises(SettingsError, match="does not say the time") as caught:
        member(settings_for(f"data.path={path}"))
    assert "data.dt" in caught.value.hint
    dataset = member(settings_for(f"data.path={path}", "data.dt=0.5", "data.time_stride=2"))
    assert dataset.dt == 1.0
    assert dataset.discretisation.shape == (4, 4)


def test_train_rows_among_the_test_rows_stop_the_run(tmp_path, write_pdebench, random_fields, settings_for):
    values = random_fields(10, 3, 8)
    values[5] = values[0]
    path = write_pdebench(tmp_path / "a.h5", values)
    with pytest.raises(DataError, match="also in the"):
        member(settings_for(f"data.path={path}"))


def test_parameters_condition_by_training_statistics(tmp_path, write_pdebench, random_fields, settings_for):
    for number, nu in enumerate((0.001, 0.01, 0.1)):
        write_pdebench(tmp_path / f"1D_Burgers_Sols_Nu{nu}.hdf5", random_fields(10, 3, 8, seed=number))
    dataset = member(settings_for(f"data.path={tmp_path}"))
    assert dataset.parameter_names == ("nu",)
    assert dataset.parameters(np.array([0, 10, 20]))[:, 0] == pytest.approx([-1.2247, 0, 1.2247], abs=1e-3)


MEMORY = """
import resource, sys, time
import numpy as np
from pathlib import Path
from ups_engine.config.layers import load_settings
from ups_engine.data.prepare import prepare_data

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

settings = load_settings(overrides=["data.path=" + sys.argv[1], "latent.residency='disk'", "data.spatial_stride=4",
                                    "data.time_stride=5"], folder=Path(sys.argv[2]), env={}, home=Path(sys.argv[2]))
before = peak()
begin = time.perf_counter()
(dataset,) = prepare_data(settings.settings).members
seconds = time.perf_counter() - begin
rng = np.random.default_rng(0)
for _ in range(20):
    dataset.read(rng.integers(0, dataset.info.trajectories, 64), rng.integers(0, 41, (64, 8)))
for row in range(0, dataset.info.trajectories, 4):
    dataset.read(np.array([row]))
print(peak() - before, seconds)
"""


def test_a_large_file_is_read_within_little_memory(tmp_path):
    path = tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5"
    rng = np.random.default_rng(0)
    block = rng.normal(size=(201, 1024)).astype(np.float32)
    with h5py.File(path, "w") as file:
        tensor = file.create_dataset("tensor", (500, 201, 1024), np.float32)
        for row in range(500):
            tensor[row] = np.roll(block, row)
        file["x-coordinate"] = ((np.arange(1024) + 0.5) / 1024).astype(np.float32)
        file["t-coordinate"] = (np.arange(202) * 0.01).astype(np.float32)
    assert path.stat().st_size > 400e6
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), str(tmp_path)], capture_output=True, text=True, check=True
    )
    mebibytes, seconds = map(float, run.stdout.split())
    path.unlink()
    assert mebibytes < 80
    assert seconds < 5


def test_a_field_that_rounding_makes_constant_is_named(tmp_path, settings_for):
    waves = np.random.default_rng(0).normal(size=(10, 6, 16))
    path = tmp_path / "1D_CFD_still_periodic.h5"
    with h5py.File(path, "w") as file:
        rounded = (101325 + 1e-3 * waves).astype(np.float32)
        file["density"], file["pressure"], file["Vx"] = waves, rounded, 2 * waves
        file["x-coordinate"], file["t-coordinate"] = np.arange(16) / 16, np.arange(7) * 0.1
    told = []
    prepare_data(settings_for(f"data.path={path}"), notify=told.append)
    (sentence,) = (line for line in told if "constant" in line)
    assert sentence.startswith("taken for constant: 1 of 3 channels (pressure)")
