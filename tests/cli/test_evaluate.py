"""`ups evaluate`: under the run's own protocol, under another one, and where it cannot."""

import json

import pytest
from tiny_run import train_tiny, without_times

from ups_engine.evaluation.report import EvaluationReport
from ups_engine.evaluation.table import render


def test_another_protocol_is_echoed_on_a_stdout_of_json_alone_and_kept_beside_the_run_s_own(copied):
    own = copied.path / "reports/evaluation.json"
    before = own.read_bytes()
    done = copied.terminal.run("evaluate", copied.path, "--split", "val", "--initial-steps", 3, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["protocol"] == {
        **json.loads(before)["protocol"],
        "split": "val",
        "initial_steps": 3,
    }
    assert len(report["variants"]["operator"]["rollout"]["nrmse_by_frame"]) == 6 - 3
    beside = copied.path / "reports/evaluation-val-3.json"
    assert done.err.splitlines()[-1] == f"report: {beside}"
    assert json.loads(beside.read_text()) == report
    assert own.read_bytes() == before


def test_the_run_s_own_protocol_gives_its_figures_again_as_a_table(copied):
    before = copied.evaluation()
    done = copied.terminal.run("evaluate", copied.path)
    assert done.code == 0 and without_times(copied.evaluation()) == without_times(before)
    assert done.out == render(EvaluationReport.from_json(copied.evaluation())) + "\n"
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_a_run_is_found_by_its_name_too(copied):
    done = copied.terminal.run("evaluate", copied.path.name, "--json")
    assert done.code == 0 and json.loads(done.out)["protocol"]["split"] == "test"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nobody"], 1, "there is no run nobody"),
        (["run", "--initial-steps", "6"], 2, "6 given frames leave none of 6 to predict"),
        (["run", "--initial-steps", "0"], 2, "'--initial-steps'"),
        (["run", "--split", "tset"], 2, "'--split'"),
    ],
)
def test_what_cannot_be_evaluated_is_one_message_and_changes_nothing(copied, arguments, code, message):
    before = copied.files()
    done = copied.terminal.run("evaluate", *arguments)
    assert done.code == code and done.out == "" and message in done.err
    assert 1 <= len(done.err.splitlines()) <= 2
    assert copied.files() == before


def test_a_run_without_an_operator_says_what_is_missing(tiny_folder):
    run = train_tiny(tiny_folder, "--stage", "autoencoder")
    done = tiny_folder.run("evaluate", run.path)
    assert done.code == 1 and "there is no checkpoint operator_ema" in done.err
    assert not (run.path / "reports/evaluation.json").exists()


def test_a_damaged_result_is_refused(copied):
    path = copied.path / "checkpoints/operator_ema.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    done = copied.terminal.run("evaluate", copied.path)
    assert done.code == 1 and "operator_ema.safetensors is damaged" in done.err and "Traceback" not in done.err
