"""The evaluation report: DESIGN's JSON to the key, a faithful round trip, a table that fits a terminal."""

import json
import math

import numpy as np
import pytest
import torch

from ups_engine.data.normalisation import Normalisation
from ups_engine.discretisation.grid import RegularGrid
from ups_engine.errors import RunError
from ups_engine.evaluation.metrics import score
from ups_engine.evaluation.report import Errors, EvaluationReport, definition
from ups_engine.evaluation.table import render, warnings
from ups_engine.formats import FormatError

FIELD = {
    "unit": "m/s",
    "nrmse": 0.00356,
    "rmse": 0.003,
    "rmse_over_std": 0.004,
    "crmse": 1e-4,
    "brmse": 2e-3,
    "frmse": {"low": 1e-3, "mid": 2e-4, "high": 3e-5},
    "nrmse_by_frame": [0.001, 0.006],
}
LEADING = ("nrmse", "rmse_over_std", "nrmse_by_frame")


def errors(**changes):
    """Of one field, `u`; the figures over all fields are its own."""
    field = {**FIELD, **changes}
    return {name: field[name] for name in LEADING} | {"fields": {"u": field}}


def variant(**changes):
    return {
        "one_step": errors(nrmse=0.00065),
        "rollout": errors(**changes),
        "evaluations_per_step": 1,
        "milliseconds_per_step": 0.25,
    }


def content(**changes):
    return {
        "protocol": {
            "split": "test",
            "trajectories": 128,
            "frames": 41,
            "initial_steps": 1,
            "resolution": [256],
            "definition": "per-frame nRMSE, mean over trajectory, channel, frame",
        },
        "reconstruction": errors(nrmse=0.0005, rmse_over_std=0.0006),
        "variants": {"persistence": variant(nrmse=0.2), "operator": variant()},
        "selected": "operator",
        **changes,
    }


def read(report):
    return EvaluationReport.from_json({"format": 2, **report})


def test_the_json_is_designs_to_the_key(tmp_path):
    report = read(content())
    report.write(tmp_path / "reports" / "evaluation.json")
    assert json.loads((tmp_path / "reports" / "evaluation.json").read_text()) == {"format": 2, **content()}
    assert EvaluationReport.read(tmp_path / "reports" / "evaluation.json") == report


def test_a_steady_prior_appears_only_when_there_is_one():
    steady = {**errors(nrmse=0.02), "persistence": errors(nrmse=0.9)}
    assert "steady_prior" not in read(content()).to_json()
    assert read(content(steady_prior=steady)).to_json()["steady_prior"] == steady


def test_a_variant_that_this_version_does_not_know_is_told_like_any_other():
    more = content(variants={"persistence": variant(nrmse=0.2), "operator": variant(), "oracle": variant(nrmse=0.01)})
    report = read({**more, "selected": "oracle"})
    assert list(report.variants) == ["persistence", "operator", "oracle"]
    assert "oracle *" in render(report)


def first_version():
    """A report as the first version wrote it: no format, no fields, figures with a unit over all of them."""
    old = {name: FIELD[name] for name in ("nrmse", "crmse", "brmse", "frmse", "nrmse_by_frame")}
    variants = {
        name: {**variant(), "one_step": {"nrmse": 0.00065}, "rollout": {**old, "nrmse": nrmse}}
        for name, nrmse in (("persistence", 0.2), ("operator", 0.00356))
    }
    return content(variants=variants, reconstruction={"nrmse": 0.0005})


def test_a_report_of_the_first_version_is_read_with_its_figures_and_nothing_made_up(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(first_version()))
    report = EvaluationReport.read(path)
    rollout = report.variants["operator"].rollout
    assert (rollout.nrmse, report.reconstruction.nrmse) == (0.00356, 0.0005)
    assert math.isnan(rollout.rmse_over_std) and rollout.worst is None
    assert rollout.fields["all fields"].brmse == 2e-3 and math.isnan(rollout.fields["all fields"].rmse)
    assert not report.no_better_than_persistence()
    assert "0.0178" in render(report)


@pytest.mark.parametrize("broken", [{"reconstruction": None}, {"variants": []}, {"variants": {"operator": {}}}])
def test_a_damaged_report_of_the_first_version_is_one_clear_error(broken, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**first_version(), **broken}))
    with pytest.raises(RunError, match="is no evaluation report"):
        EvaluationReport.read(path)


def test_a_report_of_a_newer_version_is_refused_with_both_versions(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**content(), "format": 7}))
    with pytest.raises(FormatError, match=r"evaluation.json .* is of version 7; .* up to version 2"):
        EvaluationReport.read(path)


def test_figures_that_are_not_finite_are_null_in_the_file_and_nan_in_memory(tmp_path):
    path = tmp_path / "evaluation.json"
    variants = {"operator": variant(nrmse=math.inf, nrmse_by_frame=[0.1, math.nan])}
    read(content(variants=variants)).write(path)
    stored = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert stored["variants"]["operator"]["rollout"]["nrmse"] is None
    assert stored["variants"]["operator"]["rollout"]["nrmse_by_frame"] == [0.1, None]
    assert math.isnan(EvaluationReport.read(path).variants["operator"].rollout.nrmse)


@pytest.mark.parametrize(
    "changes",
    [{"selected": "diffusion"}, {"selected": "oracle"}, {"unheard_of": 1}, {"reconstruction": {}}],
)
def test_a_report_that_breaks_the_contract_is_refused(changes):
    with pytest.raises(ValueError, match="validation error"):
        EvaluationReport.from_json({"format": 2, **content(**changes)})


def test_a_missing_or_damaged_file_is_one_clear_error(tmp_path):
    path = tmp_path / "evaluation.json"
    with pytest.raises(RunError, match="no evaluation at"):
        EvaluationReport.read(path)
    for text in ('{"protocol": ', "{}", "[]"):
        path.write_text(text)
        with pytest.raises(RunError, match="is no evaluation report"):
            EvaluationReport.read(path)


def test_the_accumulators_scores_go_into_the_report_by_field_and_unit():
    target = torch.full((2, 3, 32, 2), 4.0)
    grid = RegularGrid(((np.arange(32) + 0.5) / 32,), (1.0,), (True,))
    scores = score(target + torch.tensor([1.0, 2.0]), target, grid, Normalisation(np.zeros(2), np.array([1.0, 10.0])))
    rollout = Errors.of(scores, (("v[0]", "m/s"), ("v[1]", None)))
    assert rollout.nrmse == pytest.approx(0.375)
    assert rollout.worst == "v[0]"  # the larger error of v[1] is the smaller one beside its deviation
    assert (rollout.fields["v[0]"].unit, rollout.fields["v[1]"].unit) == ("m/s", None)
    assert [field.rmse for field in rollout.fields.values()] == pytest.approx([1.0, 2.0])
    assert rollout.fields["v[1]"].frmse.low == pytest.approx(0.5)
    assert len(rollout.nrmse_by_frame) == len(rollout.fields["v[0]"].nrmse_by_frame) == 3


def several(**nrmse):
    """A report of a density and a pressure; errors of the pressure's by variant."""

    def rollout(value):
        fields = {"rho": {**FIELD, "unit": "kg/m3"}, "p": {**FIELD, "unit": "Pa", "nrmse": value, "rmse_over_std": 1.0}}
        return {name: FIELD[name] for name in LEADING} | {"fields": fields}

    variants = {name: {**variant(), "rollout": rollout(value)} for name, value in nrmse.items()}
    variants["persistence"]["rollout"]["fields"]["rho"]["nrmse"] = 0.2
    return read(content(variants=variants))


def test_a_variant_within_two_per_cent_of_persistence_in_a_field_is_named_as_not_trained():
    report = several(persistence=0.1, operator=0.0981, diffusion=0.0979, consistency=math.nan)
    assert report.no_better_than_persistence() == {"operator": ["p"], "consistency": ["p"]}
    told = warnings(report)
    assert told[0] == "operator, which is selected, is not trained: no more than 2 % better than persistence in p"
    assert len(told) == 2 and told[1].startswith("consistency is not trained")
    assert "warning: operator, which is selected," in render(report)


def test_a_reconstruction_that_is_not_well_below_a_step_is_told_with_its_remedy():
    assert not warnings(read(content()))
    [told] = warnings(read(content(reconstruction=errors(rmse_over_std=0.0013))))  # a step has 0.004
    assert "lose 0.0013 of a standard deviation, a single step 0.004" in told and "raise latent.dim" in told


def test_tables_say_which_field_is_worst_and_give_each_in_its_unit():
    text = render(several(persistence=0.1, operator=0.05))
    assert "Rollout errors of rho in kg/m3\n" in text
    assert "Rollout errors of p in Pa; the worst field" in text
    row = next(line for line in text.splitlines() if line.startswith("operator *"))
    assert row.split()[-1] == "p"
    assert max(map(len, text.splitlines())) <= 80


def test_the_table_states_definition_and_units_and_fits_80_columns():
    variants = {
        name: variant(nrmse=0.2 if name == "persistence" else 0.00356789)
        for name in ("persistence", "operator", "diffusion", "consistency")
    }
    report = read(content(variants=variants, selected="consistency"))
    text = render(report)
    assert max(map(len, text.splitlines())) <= 80
    assert "per-frame nRMSE, mean over trajectory, channel, frame" in text
    assert "Rollout errors of u in m/s" in text
    assert "warning" not in text
    assert "test split: 128 trajectories of 41 frames on 256 points, 1 given" in text
    row = next(line for line in text.splitlines() if line.startswith("consistency *"))
    assert row.split() == ["consistency", "*", "0.00065", "0.00357", "0.0178", "0.004", "1", "0.25"]
    assert text.count("*") == 3  # twice in the tables, once explained


def test_the_table_shows_a_diverged_rollout_as_a_dash():
    report = read(content(variants={"operator": variant(nrmse=None, unit=None)}))
    row = next(line for line in render(report).splitlines() if line.startswith("operator"))
    assert row.split()[3:5] == ["-", "-"]
    assert "Rollout errors of u in the unit of the data" in render(report)


def test_entries_left_out_are_part_of_the_definition():
    assert definition() == "per-frame nRMSE, mean over trajectory, channel, frame"
    assert definition(3).endswith("; 3 entries whose target is zero everywhere left out")
