"""Boundaries: the setting, then the file's attribute in every layout, then conventions; always with where from."""

import json

import h5py
import numpy as np
import pytest

from ups_engine.config.data import BoundarySettings
from ups_engine.data.inspect import describe
from ups_engine.data.prepare import prepare_data
from ups_engine.data.sources import open_source
from ups_engine.errors import DataError, SettingsError


def written(path, layout, values, **attributes):
    with h5py.File(path, "w") as file:
        file[layout] = values
        file["x-coordinate"] = (np.arange(values.shape[2]) + 0.5) / values.shape[2]
        file["t-coordinate"] = np.arange(values.shape[1]) * 0.1
        file.attrs.update(attributes)
    return path


def told(source):
    return [str(ends) for ends in source.info.boundaries]


@pytest.mark.parametrize("layout", ["tensor", "data"])
@pytest.mark.parametrize(("attribute", "kind"), [(False, "open"), (True, "periodic")])
def test_the_attribute_is_honoured_in_every_layout(tmp_path, random_fields, layout, attribute, kind):
    path = written(tmp_path / "1D_Burgers_Sols_Nu0.1.h5", layout, random_fields(3, 4, 16), periodic=attribute)
    assert told(open_source(path)) == [f"{kind} (attribute of the file)"]
    assert told(open_source(path, BoundarySettings(x="neumann"))) == ["neumann (setting)"]


@pytest.mark.parametrize(
    ("name", "layout", "said"),
    [
        ("a.h5", "tensor", "periodic (convention of the layout)"),
        ("a.h5", "data", "open (convention of the layout)"),
        ("1D_CFD_Shock_trans.h5", "data", "open (name of the file)"),
        ("1D_CFD_Rand_periodic.h5", "data", "periodic (name of the file)"),
        ("burgers1d_train.h5", "data", "periodic (task burgers1d, by the name of the file)"),
    ],
)
def test_what_is_taken_from_a_name_or_a_layout_says_so(tmp_path, random_fields, name, layout, said):
    assert told(open_source(written(tmp_path / name, layout, random_fields(3, 4, 16)))) == [said]


def test_an_attribute_that_is_no_truth_value_is_refused(tmp_path, random_fields):
    path = written(tmp_path / "a.h5", "data", random_fields(3, 4, 16), periodic="false")
    with pytest.raises(DataError, match="attribute periodic is 'false'"):
        open_source(path)


def test_the_setting_of_an_axis_that_is_not_there_is_refused(tmp_path, random_fields):
    path = written(tmp_path / "a.h5", "data", random_fields(3, 4, 16))
    with pytest.raises(SettingsError, match=r"data\.boundary\.y is set, but the data has no axis y"):
        open_source(path, BoundarySettings(y="open"))


@pytest.mark.parametrize("override", ["data.boundary=dirichlet", "data.boundary.x=dirichlet"])
def test_inspect_and_the_runs_record_say_what_is_taken_and_where_from(tmp_path, random_fields, settings_for, override):
    path = written(tmp_path / "a.h5", "tensor", random_fields(10, 4, 16))
    settings = settings_for(f"data.path={path}", override)
    stated = {"kind": "dirichlet", "from": "setting"}
    axis = json.loads(json.dumps(describe(path, settings).to_json()))["coordinates"][0]
    assert (axis["boundary"], axis["periodic"]) == (stated, False)
    record = json.loads(json.dumps(prepare_data(settings).record()))
    assert record["members"][0]["boundaries"] == [stated]


def test_a_run_keeps_the_boundaries_that_it_was_made_with(tmp_path, random_fields, settings_for):
    path = written(tmp_path / "1D_CFD_x.h5", "data", random_fields(10, 4, 16), task="burgers1d")
    settings = settings_for(f"data.path={path}")
    record = json.loads(json.dumps(prepare_data(settings_for(f"data.path={path}", "data.boundary=open")).record()))
    record["version"] = 2
    del record["members"][0]["boundaries"]
    member = prepare_data(settings, record).members[0]
    assert told(member.source) == ["open (earlier record of the run)"]
    assert member.discretisation.periodic == (False,)
    with pytest.raises(SettingsError, match="the run was made with boundaries x open"):
        prepare_data(settings_for(f"data.path={path}", "data.boundary=periodic"), record)
