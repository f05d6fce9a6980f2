"""Boundaries that fields or names contradict are pointed out, and those that they do not contradict are not."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.data.inspect import describe
from ups_engine.data.prepare import prepare_data
from ups_engine.data.seams import boundary_doubts, measure
from ups_engine.data.sources import open_source

N, T, X = 12, 6, 64
centres = (np.arange(X) + 0.5) / X


def written(path, values, **attributes):
    """`tensor` on one axis, which is called periodic by the layout's convention."""
    with h5py.File(path, "w") as file:
        file["tensor"] = values.astype("f4")
        for name, points in zip("xy", values.shape[2:], strict=False):
            file[f"{name}-coordinate"] = (np.arange(points) + 0.5) / points
        file["t-coordinate"] = np.arange(values.shape[1]) * 0.1
        file.attrs.update(attributes)
    return path


def doubts(path):
    return list(boundary_doubts(open_source(path), np.arange(N)))


def heat(left=1.0, right=0.0, at=centres):
    """u_t = 0.02 u_xx with fixed ends, by its sine series."""
    k = np.arange(1, 9)
    a = np.random.default_rng(0).normal(size=(N, 8)) / k
    decay = np.exp(-0.02 * (np.pi * k) ** 2 * np.linspace(0, 0.5, T)[:, None])
    return left + (right - left) * at + np.einsum("nk,tk,kx->ntx", a, decay, np.sin(np.pi * k[:, None] * at))


def waves(points=X, seed=0):
    """Periodic waves of random phase that move."""
    phase = np.random.default_rng(seed).uniform(size=(N, 1, 1))
    at = np.arange(points) / points - 0.1 * np.arange(T)[:, None] + phase
    return np.sin(2 * np.pi * at) + 0.3 * np.cos(6 * np.pi * at)


def shocks(starts, speed):
    """Saw teeth on a periodic axis: one shock inside each, which crosses the seam now and then."""
    return (centres - np.asarray(starts)[:, None, None] - speed * np.arange(T)[:, None]) % 1.0


def tube(starts):
    """A shock tube between open ends: 1 on the left, 0.125 on the right, a shock, a contact and a fan between them."""
    spread = (centres - np.asarray(starts)[:, None, None]) / (0.02 + 0.04 * np.arange(T)[:, None])
    fan = np.interp(spread, [-1.18, -0.07], [1.0, 0.426])
    return np.where(spread < 0.93, fan, np.where(spread < 1.75, 0.266, 0.125))


somewhere = np.random.default_rng(3).uniform(0.3, 0.7, N)
CONTRADICTED = {
    "heat with ends 1 and 0": heat(),
    "heat with ends 0.2 apart": heat(0.2, 0.0),
    "shock tubes, one diaphragm": tube(np.full(N, 0.5)),
    "shock tubes, any diaphragm": tube(somewhere),
    "a ramp": np.broadcast_to(centres, (N, T, X)) * somewhere[:, None, None],
}
PERIODIC = {
    "waves": waves(),
    "noise": np.random.default_rng(1).normal(size=(N, T, X)),
    "noise that stands": np.repeat(np.random.default_rng(2).normal(size=(N, 1, X)), T, axis=1),
    "moving shocks": shocks(np.random.default_rng(4).uniform(size=N), 0.15),
    "standing shocks": shocks(np.random.default_rng(5).uniform(size=N), 0.0),
    "one standing shock at the seam": shocks(np.where(np.arange(N) == 3, 0.0, 0.4), 0.0),
    "a box inside": np.broadcast_to((abs(centres - 0.5) < 0.25) * 1.0, (N, T, X)),
    "a jump in the middle and at the seam": np.broadcast_to((centres < 0.5) * 1.0, (N, T, X)),
    "mirrored about the seam": np.broadcast_to(np.cos(2 * np.pi * centres), (N, T, X)),
    "nothing at all": np.zeros((N, T, X)),
    "a pulse in still water": np.broadcast_to(np.exp(-(((centres - 0.4) / 0.03) ** 2)), (N, T, X)),
}


@pytest.mark.parametrize("kind", CONTRADICTED)
def test_a_jump_at_the_seam_is_told_with_figures_and_remedy(tmp_path, kind):
    values = CONTRADICTED[kind]
    (said,) = doubts(written(tmp_path / "a.h5", values))
    assert said.startswith("along x, called periodic (convention of the layout), u jumps at the seam")
    assert "--set data.boundary.x=open" in said
    apart = np.median(abs(values[..., 0] - values[..., -1]).mean(axis=1) / values.std(axis=(1, 2)))
    assert f"{apart:.2g} standard deviations apart" in said
    assert doubts(written(tmp_path / "b.h5", values, periodic=False)) == []


@pytest.mark.parametrize("kind", PERIODIC)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_fields_that_may_well_wrap_raise_no_doubt(tmp_path, kind, offset):
    assert doubts(written(tmp_path / "a.h5", PERIODIC[kind] + offset)) == []


@pytest.mark.parametrize("values", [waves(), PERIODIC["noise"], PERIODIC["moving shocks"]])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_last_point_that_repeats_the_first_is_told(tmp_path, values, unit):
    both = np.concatenate([values, values[..., :1]], axis=-1) * unit
    (said,) = doubts(written(tmp_path / "a.h5", both))
    assert "along x, called periodic (convention of the layout), the last point repeats the first" in said
    assert "write the file without it" in said
    assert "data.boundary.x=open" in said


def test_values_that_are_not_finite_are_left_to_those_who_refuse_them(tmp_path, recwarn):
    values = heat()
    values[3, 2, 5] = np.nan
    (said,) = doubts(written(tmp_path / "a.h5", values))
    assert "jumps at the seam" in said
    assert doubts(written(tmp_path / "b.h5", values * np.nan)) == []
    assert not recwarn.list


def test_fixed_ends_alike_on_the_grids_last_points_are_told(tmp_path):
    (said,) = doubts(written(tmp_path / "a.h5", heat(0.5, 0.5, np.linspace(0, 1, X))))
    assert "the last point repeats the first" in said


def test_each_axis_is_judged_by_itself(tmp_path):
    values = heat()[..., None] + waves(16, seed=1)[:, :, None]
    path = written(tmp_path / "a.h5", values, periodic=[True, True])
    (said,) = doubts(path)
    assert said.startswith("along x, called periodic (attribute of the file), u jumps")
    (said,) = doubts(written(tmp_path / "b.h5", values.swapaxes(2, 3), periodic=[True, True]))
    assert said.startswith("along y, called periodic")
    assert doubts(written(tmp_path / "c.h5", values, periodic=[False, True])) == []


def test_the_field_that_jumps_is_named(tmp_path):
    with h5py.File(tmp_path / "1D_CFD_periodic.h5", "w") as file:
        for name, values in (("density", waves()), ("pressure", heat()), ("Vx", waves(seed=1))):
            file[name] = values.astype("f4")
        file["x-coordinate"], file["t-coordinate"] = centres, np.arange(T) * 0.1
    (said,) = doubts(tmp_path / "1D_CFD_periodic.h5")
    assert said.startswith("along x, called periodic (name of the file), pressure jumps at the seam")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_smooth_periodic_fields_never_raise_doubt_wherever_the_seam_is(data):
    points = data.draw(st.integers(16, 96))
    amplitudes = st.lists(st.floats(-1, 1), min_size=1, max_size=points // 4)
    cosines, sines = np.array(data.draw(amplitudes)), np.array(data.draw(amplitudes))
    shifts = data.draw(st.lists(st.floats(0, 1), min_size=3, max_size=6))
    if data.draw(st.booleans()):
        shifts = shifts[:1] * len(shifts)  # all trajectories alike: the steepest place may lie at the seam in each
    at = np.arange(points) / points
    values = [
        sum(a * np.cos(2 * np.pi * k * (at - s)) for k, a in enumerate(cosines, start=1))
        + sum(a * np.sin(2 * np.pi * k * (at - s)) for k, a in enumerate(sines, start=1))
        for s in shifts
    ]
    seam = measure([each[None, :, None] * 10.0 ** data.draw(st.integers(-8, 8)) for each in values], 0)
    assert not seam.repeats
    assert not seam.jumps.size


@pytest.mark.parametrize(
    ("name", "periodic", "word"),
    [
        ("1D_CFD_Rand_trans_Train.h5", True, "says periodic, its name `_trans_`: the attribute is taken"),
        ("1D_CFD_Rand_periodic_Train.h5", False, "says open, its name `_periodic_`: the attribute is taken"),
        ("mine_periodic.h5", False, "says open, its name `_periodic_`"),
        ("mine_trans.h5", True, None),
        ("mine_non_periodic.h5", False, None),
        ("1D_CFD_Rand_periodic_Train.h5", True, None),
        ("1D_CFD_Rand_trans_Train.h5", False, None),
    ],
)
def test_a_name_that_contradicts_the_attribute_is_told(tmp_path, name, periodic, word):
    path = written(tmp_path / name, waves(), periodic=periodic)
    said = doubts(path)
    assert len(said) == (word is not None)
    if word:
        assert word in said[0]
        assert f"--set data.boundary={'open' if periodic else 'periodic'}" in said[0]


def test_inspect_and_the_preparation_of_a_run_say_it(tmp_path, settings_for):
    path = written(tmp_path / "heat.h5", heat())
    chosen, stated = settings_for(f"data.path={path}"), settings_for(f"data.path={path}", "data.boundary=dirichlet")
    told = []
    prepare_data(chosen, notify=told.append)
    for said in (told, describe(path, chosen).plan):
        assert len([line for line in said if "jumps at the seam" in line]) == 1
    assert not any("seam" in line for line in describe(path, stated).plan)
    record = prepare_data(chosen).record()
    told.clear()
    prepare_data(chosen, record, told.append)
    assert told == []
