"""A run whose files were damaged, exchanged or made anew: nothing is scored or trained with it in silence."""

import json

import pytest
from tiny_run import TRAINED, without_times

from ups_engine.errors import CheckpointError, RunError
from ups_engine.evaluation.report import EvaluationReport
from ups_engine.evaluation.soundness import flaws, report_flaw
from ups_engine.evaluation.table import render
from ups_engine.pipeline.observer import Observer
from ups_engine.pipeline.plan import Past
from ups_engine.pipeline.reopen import evaluate_run
from ups_engine.pipeline.run import run_pipeline
from ups_engine.runs.checkpoints import load_result, save_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.sidecars import read_sidecar


@pytest.fixture
def run(copied, monkeypatch) -> RunDirectory:
    monkeypatch.chdir(copied.terminal.folder)
    return copied.directory


class Heard(Observer):
    def __init__(self):
        self.warnings = []

    def event(self, kind, stage, epoch, step, data):
        self.warnings += [data["message"]] if kind == "warning" else []


def resume(run, *only):
    heard = Heard()
    run_pipeline(run, only=only, observers=[heard])
    return heard.warnings


def remake(run, name, /, **changes):
    """Put another result in the place of one, as a stage that is done again does."""
    tensors, sidecar = load_result(run, name)
    sidecar = {key: value for key, value in sidecar.items() if key not in ("sha256", "bytes", "format")}
    shifted = {key: tensor + 1e-3 if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    save_result(run, name, shifted, sidecar | changes)


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def evaluation(run):
    return json.loads((run.reports / "evaluation.json").read_text())


def test_an_evaluation_names_what_it_leaves_out_and_scores_the_rest_as_before(run):
    before = without_times(evaluation(run))
    flip(run.checkpoints / "consistency_ema.safetensors")
    for path in run.checkpoints.glob("diffusion_residual_ema.*"):
        path.unlink()
    edit(run.checkpoints / "steady_prior.json", '"version": 2', '"version": 1')
    report, _ = evaluate_run(run)
    assert set(report.left_out) == {"diffusion", "consistency", "steady_prior"}
    assert "diffusion_residual_ema.safetensors is missing" in report.left_out["diffusion"]
    assert "does not have the checksum" in report.left_out["consistency"]
    assert "it is not as UPS wrote it" in report.left_out["steady_prior"]
    after = without_times(report.to_json())
    assert list(after["variants"]) == ["persistence", "operator"] and report.steady_prior is None
    assert all(after["variants"][name] == before["variants"][name] for name in after["variants"])
    assert after["left_out"] == evaluation(run)["left_out"]
    table = " ".join(render(report).split())
    assert all(f"left out: {name}, " in table for name in report.left_out)


def test_a_variant_that_was_never_trained_is_left_out_as_such(run):
    for path in [*run.checkpoints.glob("consistency*"), *run.checkpoints.glob("steady_prior*")]:
        path.unlink()
    lines = run.events.read_text().splitlines(keepends=True)
    run.events.write_text("".join(line for line in lines if "consistency" not in line and "steady" not in line))
    report, _ = evaluate_run(run)
    assert report.left_out == {"consistency": "not trained"} and report.steady_prior is None


@pytest.mark.parametrize(
    ("remade", "refused", "named"),
    [
        (("encoder", "decoder"), "decoder", "another encoder"),  # a pair that was not trained together
        (("encoder",), "decoder", "another encoder"),
        (("decoder",), "operator_ema", "another decoder"),
    ],
)
def test_an_operator_of_an_encoder_or_decoder_that_was_remade_is_not_scored(run, remade, refused, named):
    before = (run.reports / "evaluation.json").read_bytes()
    for name in remade:
        remake(run, name)
    with pytest.raises(CheckpointError, match=rf"{refused}.safetensors was trained with {named} than the run has now"):
        evaluate_run(run)
    assert (run.reports / "evaluation.json").read_bytes() == before


def test_correctors_of_an_operator_that_was_remade_are_left_out_and_say_so_everywhere(run):
    remake(run, "operator_ema")
    past = Past(run)
    assert [name for name in TRAINED if past.flaw(name)] == ["diff_residual", "consistency_distill"]
    assert "is about another operator_ema" in past.flaw("evaluation")
    told = flaws(run, {"operator_ema", "diffusion_residual_ema", "consistency_ema", "steady_prior"})
    assert len(told) == 3 and all("another operator_ema" in sentence for sentence in told)
    assert [sentence.split(" for ")[0] for sentence in past.once_more(TRAINED)] == [
        "diff_residual is done again,",
        "consistency_distill is done again,",
    ]
    report, path = evaluate_run(run)
    assert set(report.left_out) == {"diffusion", "consistency"} and report_flaw(run, path) is None
    assert report.results["operator_ema"] == read_sidecar(run, "operator_ema")["sha256"]


def test_what_was_trained_with_a_remade_encoder_is_trained_again_with_a_word_about_each(run):
    remake(run, "encoder")
    remake(run, "decoder", trained_on={"encoder": read_sidecar(run, "encoder")["sha256"]})
    warnings = [sentence for sentence in resume(run) if "is done again" in sentence]
    assert [sentence.split()[0] for sentence in warnings] == list(TRAINED[1:])
    assert all("was trained with another encoder, decoder" in w for w in warnings)
    past = Past(run)
    assert not any(past.flaw(name) for name in (*TRAINED, "evaluation"))
    assert evaluation(run)["results"]["encoder"] == read_sidecar(run, "encoder")["sha256"]
    assert resume(run) == []


def test_a_stage_outside_of_the_plan_is_told_and_left_alone(run):
    flip(run.checkpoints / "consistency.safetensors")
    damaged = (run.checkpoints / "consistency.safetensors").read_bytes()
    (told,) = resume(run, "steady_prior")
    assert "consistency.safetensors is damaged" in told and told.endswith("again with --stage consistency_distill")
    assert (run.checkpoints / "consistency.safetensors").read_bytes() == damaged


def test_a_damaged_result_is_trained_again_to_the_same_bits_and_said_so(run, finished):
    flip(run.checkpoints / "steady_prior.safetensors")
    warnings = resume(run)
    assert "steady_prior is done again, for " in warnings[0] and "steady_prior.safetensors is damaged" in warnings[0]
    sound = finished.path / "checkpoints/steady_prior.safetensors"
    assert (run.checkpoints / "steady_prior.safetensors").read_bytes() == sound.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"run": "0" * 26}, "was made by another run"), ({"data": "0" * 64}, "on other data or other splits")],
)
def test_a_result_of_another_run_or_of_other_data_is_refused(run, changes, message):
    remake(run, "encoder", **changes)
    with pytest.raises(CheckpointError, match=message):
        evaluate_run(run)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("settings.toml", "temperature = ", "temperature = 1"), ("data.json", '"std":[', '"std":[1')],
)
def test_settings_and_data_record_that_were_edited_are_refused(run, file, old, new):
    edit(run.path / file, old, new)
    for act in (evaluate_run, run_pipeline):
        with pytest.raises(RunError, match=rf"{file} is not as UPS wrote it"):
            act(run)
    assert flaws(run, ()) == [f"{file} is not as UPS wrote it"]


def test_a_report_that_was_edited_is_told_and_made_again(run):
    sound, path = without_times(evaluation(run)), run.reports / "evaluation.json"
    edit(path, '"nrmse": 0.', '"nrmse": 0.0')
    assert EvaluationReport.read(path) and report_flaw(run, path) == "reports/evaluation.json is not as UPS wrote it"
    assert resume(run)[0] == "evaluation is done again, for reports/evaluation.json is not as UPS wrote it"
    assert without_times(evaluation(run)) == sound and flaws(run, ()) == []
    (run.reports / "fields.npz").unlink()
    assert flaws(run, ()) == ["reports/fields.npz is missing"]
