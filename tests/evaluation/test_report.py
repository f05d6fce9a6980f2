"""The evaluation report: DESIGN's JSON to the key, a faithful round trip, a table that fits a terminal."""

import json
import math

import numpy as np
import pytest
import torch

from ups_engine.discretisation.grid import RegularGrid
from ups_engine.errors import RunError
from ups_engine.evaluation.metrics import score
from ups_engine.evaluation.report import EvaluationReport, Rollout, definition, render
from ups_engine.formats import FormatError

ROLLOUT = {
    "nrmse": 0.00356,
    "crmse": 1e-4,
    "brmse": 2e-3,
    "frmse": {"low": 1e-3, "mid": 2e-4, "high": 3e-5},
    "nrmse_by_frame": [0.001, 0.006],
}


def variant(**changes):
    return {
        "one_step": {"nrmse": 0.00065},
        "rollout": {**ROLLOUT, **changes},
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
        "reconstruction": {"nrmse": 0.0005},
        "variants": {"persistence": variant(nrmse=0.2), "operator": variant()},
        "selected": "operator",
        **changes,
    }


def test_the_json_is_designs_to_the_key(tmp_path):
    report = EvaluationReport.from_json(content())
    report.write(tmp_path / "reports" / "evaluation.json")
    assert json.loads((tmp_path / "reports" / "evaluation.json").read_text()) == {"format": 1, **content()}
    assert EvaluationReport.read(tmp_path / "reports" / "evaluation.json") == report


def test_a_steady_prior_appears_only_when_there_is_one():
    steady = {"nrmse": 0.02, "persistence": {"nrmse": 0.9}}
    assert "steady_prior" not in EvaluationReport.from_json(content()).to_json()
    assert EvaluationReport.from_json(content(steady_prior=steady)).to_json()["steady_prior"] == steady


def test_a_variant_that_this_version_does_not_know_is_told_like_any_other():
    more = content(variants={"persistence": variant(nrmse=0.2), "operator": variant(), "oracle": variant(nrmse=0.01)})
    report = EvaluationReport.from_json({**more, "selected": "oracle"})
    assert list(report.variants) == ["persistence", "operator", "oracle"]
    assert "oracle *" in render(report)


def test_a_report_of_the_first_version_has_no_format_and_a_newer_one_is_refused_with_both_versions(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(content()))
    assert EvaluationReport.read(path).to_json() == {"format": 1, **content()}
    path.write_text(json.dumps({"format": 7, **content()}))
    with pytest.raises(FormatError, match=r"evaluation.json .* is of version 7; .* up to version 1"):
        EvaluationReport.read(path)


def test_figures_that_are_not_finite_are_null_in_the_file_and_nan_in_memory(tmp_path):
    path = tmp_path / "evaluation.json"
    variants = {"operator": variant(nrmse=math.inf, nrmse_by_frame=[0.1, math.nan])}
    EvaluationReport.from_json(content(variants=variants)).write(path)
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
        EvaluationReport.from_json(content(**changes))


def test_a_missing_or_damaged_file_is_one_clear_error(tmp_path):
    path = tmp_path / "evaluation.json"
    with pytest.raises(RunError, match="no evaluation at"):
        EvaluationReport.read(path)
    for text in ('{"protocol": ', "{}", "[]"):
        path.write_text(text)
        with pytest.raises(RunError, match="is no evaluation report"):
            EvaluationReport.read(path)


def test_the_accumulators_scores_go_into_the_report():
    target = torch.full((2, 3, 32, 1), 4.0)
    grid = RegularGrid(((np.arange(32) + 0.5) / 32,), (1.0,), (True,))
    rollout = Rollout.of(score(target + 1, target, grid))
    assert rollout.nrmse == pytest.approx(0.25)
    assert rollout.frmse.low == pytest.approx(0.25)
    assert len(rollout.nrmse_by_frame) == 3


def test_the_table_states_definition_and_units_and_fits_80_columns():
    variants = {
        name: variant(nrmse=0.2 if name == "persistence" else 0.00356789)
        for name in ("persistence", "operator", "diffusion", "consistency")
    }
    report = EvaluationReport.from_json(content(variants=variants, selected="consistency"))
    text = render(report, unit="m/s")
    assert max(map(len, text.splitlines())) <= 80
    assert "per-frame nRMSE, mean over trajectory, channel, frame" in text
    assert "Rollout errors in m/s" in text
    assert "test split: 128 trajectories of 41 frames on 256 points, 1 given" in text
    row = next(line for line in text.splitlines() if line.startswith("consistency *"))
    assert row.split() == ["consistency", "*", "0.00065", "0.00357", "0.0178", "1", "0.25"]
    assert text.count("*") == 3  # twice in the tables, once explained


def test_the_table_shows_a_diverged_rollout_as_a_dash():
    report = EvaluationReport.from_json(content(variants={"operator": variant(nrmse=None)}))
    row = next(line for line in render(report).splitlines() if line.startswith("operator"))
    assert row.split()[3:5] == ["-", "-"]
    assert "the units of the field" in render(report)


def test_entries_left_out_are_part_of_the_definition():
    assert definition() == "per-frame nRMSE, mean over trajectory, channel, frame"
    assert definition(3).endswith("; 3 entries whose target is zero everywhere left out")
