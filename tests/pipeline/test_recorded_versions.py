"""Runs recorded by earlier versions of UPS open, are shown, evaluate, and go on as far as the mathematics is the same.

`recorded/format1` holds two smoke runs as the first format left them: one finished, one parked in the middle of its
operator stage, and the evaluation that the parked one came to under the version that recorded it. Bits differ between
kinds of CPU, so figures are compared.
"""

import json
import shutil
from pathlib import Path

import pytest
from terminal import Terminal
from tiny_run import TinyRun, without_times

from ups_engine.runs.checkpoints import load_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.state import summarise

RECORDED = Path(__file__).parents[1] / "recorded" / "format1"


@pytest.fixture
def project(tmp_path):
    """The recorded project, somewhere else than it was recorded."""
    return Terminal(shutil.copytree(RECORDED, tmp_path / "project"))


def figures(evaluation):
    """nRMSE of every variant, single-step and rolled out."""
    return {
        (name, kind): variant[kind]["nrmse"]
        for name, variant in evaluation["variants"].items()
        for kind in ("one_step", "rollout")
    }


def test_a_finished_run_is_listed_and_shown(project):
    (project.folder / "ups.toml").write_text('runs.root = "."\n')
    listed = json.loads(project.run("runs", "list", "--json").out)["runs"]
    assert {run["run"]: run["state"] for run in listed} == {"finished": "finished", "parked": "parked"}
    shown = json.loads(project.run("runs", "show", project.folder / "finished", "--json").out)
    assert all(stage["state"] == "done" for stage in shown["stages"])


def test_a_finished_run_evaluates_to_the_figures_that_it_was_recorded_with(project):
    before = json.loads((RECORDED / "finished/reports/evaluation.json").read_text())
    done = project.run("evaluate", project.folder / "finished", "--json")
    assert done.code == 0, done.err
    after = json.loads(done.out)
    assert set(after.pop("results")) >= {"encoder", "operator_ema"}
    assert after.pop("format") == 2 and without_times(after).keys() == without_times(before).keys()
    assert figures(after) == pytest.approx(figures(before), rel=1e-3)
    assert after["selected"] == before["selected"]


def test_a_run_parked_in_a_stage_that_computes_otherwise_now_begins_it_anew_when_told_to(project):
    run = RunDirectory(project.folder / "parked")
    at = summarise(run)
    assert (at.state, at.stage, at.planned) == ("parked", "operator", frozenset(stage.name for stage in at.stages))
    refused = TinyRun(project, run.path, None).resume()
    assert refused.code == 1 and "the resumable state of stage operator is of an earlier UPS" in refused.err
    shutil.rmtree(run.resume)  # as the message says
    done = TinyRun(project, run.path, None).resume()
    assert done.code == 0, done.err
    expected = json.loads((RECORDED / "ended/evaluation.json").read_text())
    found = json.loads((run.reports / "evaluation.json").read_text())
    assert figures(found) == pytest.approx(figures(expected), rel=0.5)
    assert "encoder" in load_result(run, "operator_ema")[1]["trained_on"]
