"""Every declared task keeps what it declares: tests go over the registry, so that a new task is tested unasked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ups_engine.config.data import DataSettings, GenerateSettings
from ups_engine.config.layers import load_settings
from ups_engine.data.generate import generated_path, make
from ups_engine.data.prepare import prepare_data
from ups_engine.data.sources import open_source
from ups_engine.data.sources.files import PARAMETERS, parse_name
from ups_engine.data.tasks import SOLVED, TASKS
from ups_engine.data.tasks.base import Field, Parameter
from ups_engine.discretisation.grid import cell_centres

SMALL = GenerateSettings(trajectories=6, points=32, frames=4, t_end=0.2, parameters={}, seed=5)
POINTS, TIMES = 32, np.linspace(0, 0.2, 4)


def initial(task, rows=6, points=POINTS, seed=5):
    return task.solver.draw(np.arange(rows), seed, points)


def solved(task, states, times=TIMES, **parameters):
    frames = np.full((len(states), len(times), *states.shape[1:]), np.nan)
    for rows, block in task.solver.solve(states, times, **{**task.values({}), **parameters}):
        frames[rows] = block
    return frames


def shifted(states, task):
    for axis, wraps in enumerate(task.periodic):
        states = np.roll(states, 5 + axis, axis=axis - len(task.axes)) if wraps else states
    return states


def mirrored(states, task):
    for axis, sign in enumerate(task.fields[0].reflected):
        states = sign * np.flip(states, axis=axis - len(task.axes))
    return states


MAPS = {
    "shift": shifted,
    "reflection": mirrored,
    "exchange": lambda states, task: np.swapaxes(states, -1, -2),
    "offset": lambda states, task: states + 0.7,
    "scaling": lambda states, task: -1.9 * states,
}


@pytest.fixture(params=SOLVED)
def task(request):
    return SOLVED[request.param]


@pytest.mark.parametrize("name", TASKS)
def test_a_declared_task_lies_in_the_file_of_its_name_and_is_explained(name):
    module = __import__(f"ups_engine.data.tasks.{name}", fromlist=["TASK"])
    assert module.TASK is TASKS[name]
    assert "State:" in module.__doc__
    assert all(parameter.meaning for parameter in module.TASK.parameters)


@pytest.mark.parametrize("name", TASKS)
def test_files_of_a_declared_task_are_recognised_by_its_title_with_all_parameters(name):
    values = {parameter.name: 0.25 + i for i, parameter in enumerate(TASKS[name].parameters)}
    written = "_".join(f"{p.written}{values[p.name]}" for p in TASKS[name].parameters)
    found = parse_name(Path(f"{TASKS[name].title}_Sols_{written}.hdf5"))
    assert (found.task, found.parameters) == (name, values)
    assert set(values) <= set(PARAMETERS)
    assert found.periodic is (True if all(axis.boundary == "periodic" for axis in TASKS[name].axes) else None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parameters": (Parameter("seed", 1.0, "a seed"),)}, "no parameter can be called 'seed'"),
        ({"parameters": (Parameter("Nu", 1.0, "viscosity"),)}, "no parameter can be called 'Nu'"),
        ({"fields": (Field("u"),)}, "a sign for each of the 2 axes"),
        ({"fields": (Field("u", None, (1, 1)),) * 2}, "a single field, not 2"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(TASKS["heat2d"], **change)


def test_what_it_conserves_stays_to_rounding(task):
    assert set(task.conserved) <= {field.name for field in task.fields}
    frames = solved(task, initial(task))
    assert np.isfinite(frames).all()
    assert np.array_equal(frames[:, 0], initial(task))
    if task.conserved:
        mass = frames.mean(axis=tuple(range(2, frames.ndim)))
        assert np.abs(mass - mass[:, :1]).max() < 1e-13 * max(1, np.abs(frames).max())


@pytest.mark.parametrize(
    ("name", "symmetry"), [(name, symmetry) for name, task in SOLVED.items() for symmetry in task.symmetries]
)
def test_its_symmetries_hold_on_its_solutions(name, symmetry):
    task, states = SOLVED[name], initial(SOLVED[name])
    moved = solved(task, MAPS[symmetry](states, task))
    assert np.abs(moved - MAPS[symmetry](solved(task, states), task)).max() < 1e-11
    assert not np.allclose(moved[:, 0], states), "the map does something"


def test_symmetries_that_it_does_not_declare_do_not_hold(task):
    states = initial(task)
    for symmetry, move in MAPS.items():
        if symmetry not in task.symmetries and not (symmetry == "exchange" and len(task.axes) == 1):
            assert not np.allclose(solved(task, move(states, task)), move(solved(task, states), task), atol=1e-3), (
                symmetry
            )


def test_a_trajectory_depends_on_its_number_and_the_seed_alone(task):
    few, many = initial(task, 3), initial(task, 40)
    assert np.array_equal(many[:3], few)
    assert not np.allclose(initial(task, 3, seed=6), few)
    assert many.shape == (40, *(POINTS,) * len(task.axes))
    together, alone = solved(task, many), solved(task, many[30:31])
    assert np.array_equal(together[30], alone[0])


def test_states_differ_in_their_means_and_along_every_axis(task):
    states = initial(task, 40)
    assert states.mean(axis=tuple(range(1, states.ndim))).std() > 0.1
    assert all(np.abs(np.diff(states, axis=axis)).max() > 0.01 for axis in range(1, states.ndim))


def test_progress_counts_trajectories_and_frames(task):
    counts = []
    list(task.solver.solve(initial(task), TIMES, advanced=counts.append, **task.values({})))
    assert sum(counts) == 6 * 3


def test_each_of_its_parameters_matters_is_read_back_and_conditions(task, tmp_path, settings_for):
    for parameter in task.parameters:
        values = {parameter.name: parameter.default * 1.5}
        assert not np.allclose(solved(task, initial(task), **values), solved(task, initial(task)), atol=1e-6)
    for factor in (1.0, 1.5):
        values = {parameter.name: parameter.default * factor for parameter in task.parameters}
        settings = SMALL.model_copy(update={"parameters": values, "seed": int(2 * factor)})
        data = DataSettings.model_construct(root=str(tmp_path), generate=settings)
        path = make(task.name, settings, generated_path(task.name, data))
        source = open_source(path.rename(path.with_stem(f"renamed{factor}")))
        assert (source.info.task, source.info.parameters) == (task.name, tuple(values))
        assert source.parameters([5])[0] == pytest.approx(list(values.values()))
        assert source.info.periodic == task.periodic
    (member,) = prepare_data(settings_for(f"data.path={tmp_path / 'generated'}")).members
    inputs = member.parameters(np.arange(12))
    assert inputs.shape == (12, len(task.parameters))
    assert (inputs[0] != inputs[-1]).all() and np.abs(inputs).max() > 0.5


def test_the_preset_of_its_name_makes_and_reads_it(task, tmp_path):
    resolved = load_settings(preset=task.name, folder=tmp_path, env={}, home=tmp_path)
    small = [f"data.root={tmp_path}", "data.generate.trajectories=4", "data.spatial_stride=1", "data.time_stride=1"]
    small += ["data.generate.points=32", "data.generate.frames=3", "data.generate.t_end=0.1"]
    assert resolved.settings.data.task == task.name
    settings = load_settings(preset=task.name, overrides=small, folder=tmp_path, env={}, home=tmp_path).settings
    (member,) = prepare_data(settings).members
    assert (member.task, member.name) == (task.name, task.name)
    assert member.field_names == tuple(field.name for field in task.fields)
    extents = [axis.extent for axis in task.axes]
    assert member.discretisation.lengths == pytest.approx([last - first for first, last in extents], rel=1e-6)
    for axis, extent in zip(member.discretisation.coordinates, extents, strict=True):
        np.testing.assert_allclose(axis, cell_centres(32, extent), atol=1e-6)
