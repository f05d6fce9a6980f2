"""File names: parameters, tasks, splits and the order of shards."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ups_engine.data.sources.files import PARAMETERS, expand, find_task, natural_key, parse_name
from ups_engine.errors import DataError


@pytest.mark.parametrize(
    ("name", "task", "split", "parameters", "periodic"),
    [
        ("1D_Burgers_Sols_Nu0.01.hdf5", "burgers1d", None, {"nu": 0.01}, True),
        ("1D_Burgers_Sols_Nu1.0.hdf5", "burgers1d", None, {"nu": 1.0}, True),
        ("1D_Advection_Sols_beta0.4.hdf5", "advection1d", None, {"beta": 0.4}, True),
        ("ReacDiff_Nu0.5_Rho1.0.hdf5", "reaction_diffusion1d", None, {"nu": 0.5, "rho": 1.0}, True),
        (
            "1D_CFD_Rand_Eta1.e-8_Zeta1.e-8_periodic_Train.hdf5",
            "compressible_flow1d",
            None,
            {"eta": 1e-8, "zeta": 1e-8},
            True,
        ),
        (
            "1D_CFD_Shock_Eta0.01_Zeta0.01_trans_Train.hdf5",
            "compressible_flow1d",
            None,
            {"eta": 0.01, "zeta": 0.01},
            False,
        ),
        ("2D_CFD_Rand_M0.1_Eta1e-08_Zeta1e-08_128.hdf5", None, None, {"mach": 0.1, "eta": 1e-8, "zeta": 1e-8}, None),
        ("burgers1d_train.h5", "burgers1d", "train", {}, True),
        ("burgers1d_valid_3.h5", "burgers1d", "val", {}, True),
        ("navier_stokes2d_test_12.h5", "navier_stokes2d", "test", {}, None),
        ("burgers1d_train_nu0.001.h5", "burgers1d", "train", {"nu": 0.001}, True),
        ("1D_Burgers_Sols_Nu0.01_N256_X512_T41_tend2_seed0.hdf5", "burgers1d", None, {"nu": 0.01}, True),
        ("renamed.hdf5", None, None, {}, None),
        ("menu5_notes.h5", None, None, {}, None),
    ],
)
def test_names_say_task_split_parameters_and_boundaries(name, task, split, parameters, periodic):
    parsed = parse_name(Path(name))
    assert (parsed.task, parsed.split, parsed.parameters, parsed.periodic) == (task, split, parameters, periodic)


@given(
    values=st.dictionaries(
        st.sampled_from(PARAMETERS),
        st.floats(min_value=-1e6, max_value=1e6, allow_nan=False) | st.integers(-1000, 1000),
        min_size=1,
    ),
    suffix=st.sampled_from([".hdf5", ".h5", ".HDF5", ""]),
    upper=st.booleans(),
)
def test_every_number_in_a_name_is_read_back(values, suffix, upper):
    pieces = [f"{key.capitalize() if upper else key}{value!r}" for key, value in values.items()]
    assert parse_name(Path("_".join(["run", *pieces]) + suffix)).parameters == values


@example("0²")
@given(st.text(st.characters(blacklist_characters="/\0"), min_size=1))
def test_any_name_is_parsed_without_complaint(name):
    parse_name(Path(name))
    natural_key(Path(name))


def test_shards_are_ordered_by_split_then_by_number(tmp_path):
    for name in ("t_train_10.h5", "t_test.h5", "t_train_2.h5", "t_val.h5", "notes.txt", ".t_train_3.h5"):
        (tmp_path / name).touch()
    expected = ["t_train_2.h5", "t_train_10.h5", "t_val.h5", "t_test.h5"]
    assert [file.name for file in expand(tmp_path)] == expected
    assert [file.name for file in find_task(tmp_path, "t")] == expected
    assert [file.name for file in expand(f"{tmp_path}/t_tr*.h5")] == expected[:2]


def test_a_task_is_found_under_converted_names_before_pdebenchs_own(tmp_path):
    (tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5").touch()
    assert [file.name for file in find_task(tmp_path, "burgers1d")] == ["1D_Burgers_Sols_Nu0.01.hdf5"]
    (tmp_path / "burgers1d_train.h5").touch()
    assert [file.name for file in find_task(tmp_path, "burgers1d")] == ["burgers1d_train.h5"]
    assert find_task(tmp_path, "advection1d") == []
    assert find_task(tmp_path / "absent", "burgers1d") == []


@pytest.mark.parametrize("path", ["absent.h5", "absent/*.h5", "."])
def test_nothing_there_is_one_clear_message(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        expand(path)
    assert caught.value.hint
    assert "\n" not in caught.value.message
