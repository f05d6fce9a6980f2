"""What a run sets out to do, and what it refuses before it has begun."""

import json
import re

import h5py
import numpy as np
import pytest
from tiny_run import STAGES, TRAINED

from ups_engine.data.survey import survey_data
from ups_engine.errors import DataError, SettingsError, UsageError
from ups_engine.pipeline.forecast import forecast
from ups_engine.pipeline.plan import Past, check_needs, make_plan
from ups_engine.pipeline.run import start_run
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.state import summarise


def running(plan):
    return tuple(stage.name for stage in plan if stage.skip is None)


def test_all_stages_run_unless_something_speaks_against_it(settings):
    assert running(make_plan(settings())) == STAGES
    assert running(make_plan(settings(), only=["operator", "autoencoder"])) == ("autoencoder", "operator")
    assert running(make_plan(settings(), skip=TRAINED[2:])) == ("autoencoder", "operator", "evaluation")
    assert "operator" not in running(make_plan(settings("stages.operator.epochs=0"), only=["operator", "evaluation"]))


def test_a_stage_that_is_left_out_says_why_and_has_no_epochs(settings):
    plan = {s.name: s for s in make_plan(settings("stages.steady_prior.epochs=0"), skip=["operator"])}
    assert (plan["operator"].skip, plan["operator"].epochs) == ("left out with --skip", 0)
    assert plan["steady_prior"].skip == "stages.steady_prior.epochs = 0"
    assert (plan["autoencoder"].skip, plan["autoencoder"].epochs) == (None, 2)


def test_a_resumed_run_keeps_to_its_earlier_plan_until_told_otherwise(settings):
    earlier = {"autoencoder", "operator"}
    assert running(make_plan(settings(), earlier=earlier)) == ("autoencoder", "operator")
    assert running(make_plan(settings(), only=["evaluation"], earlier=earlier)) == ("evaluation",)
    assert running(make_plan(settings(), skip=["evaluation"], earlier=earlier)) == TRAINED


@pytest.mark.parametrize("chosen", [{"only": ["encoder"]}, {"skip": ["opertor"]}])
def test_an_unknown_stage_is_named_with_those_there_are(settings, chosen):
    with pytest.raises(UsageError, match="there is no stage") as caught:
        make_plan(settings(), **chosen)
    assert all(stage in caught.value.hint for stage in STAGES)


def test_a_plan_of_nothing_is_refused(settings):
    with pytest.raises(UsageError, match="nothing to do"):
        make_plan(settings(), skip=STAGES)


@pytest.mark.parametrize(
    ("stage", "missing", "makers"),
    [
        ("operator", "encoder, decoder", "--stage autoencoder"),
        ("diff_residual", "encoder, decoder, operator_ema", "--stage autoencoder and --stage operator"),
        ("steady_prior", "encoder, decoder", "--stage autoencoder"),
        ("evaluation", "encoder, decoder, operator_ema", "--stage autoencoder and --stage operator"),
    ],
)
def test_a_stage_without_what_it_needs_is_refused_with_the_stages_that_make_it(settings, stage, missing, makers):
    with pytest.raises(UsageError) as caught:
        check_needs(make_plan(settings(), only=[stage]), None)
    assert caught.value.message == f"stage {stage} needs {missing}, which this run does not have"
    assert caught.value.hint.startswith(f"add {makers}, or go on with a run that has them")


def test_needs_are_met_by_the_plan_or_by_the_run(settings, finished):
    check_needs(make_plan(settings(), only=["autoencoder", "operator"]), None)
    for stage in STAGES:
        check_needs(make_plan(settings(), only=[stage]), finished.directory)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.generate.points=60", "data.patch_size = 8 does not tile the 60 grid"),
        ("data.patch_size=16", "data.patch_size = 16 does not tile the 32 grid"),
        ("latent.tokens=3", "latent.tokens = 3, but a 32 grid in patches of 8 has 4 tokens"),
        ("data.spatial_stride=3", "data.spatial_stride = 3 does not divide the 32 points"),
        ("data.time_stride=6", "data.time_stride = 6 leaves fewer than 2 of 6 frames"),
        ("data.frames=7", "data.frames = 7, but the data has 6 frames"),
        ("data.dt=0.5", "data.dt = 0.5, but"),
        ("training.rollout_horizon=6", "unrolling 6 steps takes more than the 6 frames"),
        ("stages.operator.curriculum=[{from_epoch=1,rollout_horizon=9}]", "unrolling 9 steps"),
        ("stages.evaluation.initial_steps=6", "6 given frames leave none of 6 to predict"),
        ("latent.residency=gpu", "latent.residency = gpu, but training runs on the CPU"),
        ("runtime.device=tpu", "runtime.device = 'tpu' is no device"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_made(settings, tmp_path, override, message):
    wrong = settings(override, *([] if "runtime" in override else ["runtime.device=cpu"]))
    with pytest.raises(SettingsError) as caught:
        start_run(wrong, origins={}, argv=[])
    assert caught.value.message.startswith(message) and caught.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["ups.toml"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.path=nowhere.h5", "no such file or folder: nowhere.h5"),
        ("data.task=darcy2d", "no files of task 'darcy2d' in data, and UPS has no solver for it"),
        ("data.generate.trajectories=2", "2 trajectories cannot be split"),
    ],
)
def test_data_that_cannot_be_had_is_refused_before_anything_is_made(settings, tmp_path, override, message):
    with pytest.raises(DataError) as caught:
        start_run(settings(override), origins={}, argv=[])
    assert caught.value.message.startswith(message) and caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["ups.toml"]


def test_what_is_foreseen_of_generated_data_is_what_the_data_then_are(settings):
    from ups_engine.data.prepare import prepare_data
    from ups_engine.data.survey import survey_data

    chosen = settings(
        "data.spatial_stride=2",
        "data.patch_size=4",
        "data.time_stride=2",
        "data.task=advection1d",
        "data.exclude=[3]",
        "data.trajectories=8",
    )
    (before,), (member,) = survey_data(chosen), prepare_data(chosen).members
    seen, after = before.discretisation, member.discretisation
    assert (seen.shape, seen.periodic, before.frames) == (after.shape, after.periodic, member.frames)
    assert before.splits.to_json() == member.splits.to_json()
    assert (before.dt, before.channels, before.parameter_names) == (member.dt, member.channels, member.parameter_names)
    assert seen.lengths == pytest.approx(after.lengths) == (1.0,)
    np.testing.assert_allclose(seen.coordinates[0], after.coordinates[0], atol=1e-7)
    (told,) = survey_data(chosen)
    assert told.discretisation.shape == seen.shape, "told by the file that is there now"


def test_a_working_setting_passes_without_making_anything(settings, tmp_path):
    forecast(settings("runtime.device=cpu"))
    assert [path.name for path in tmp_path.iterdir()] == ["ups.toml"]


def test_the_latest_plan_of_a_history_counts_and_a_torn_line_does_not(tmp_path):
    run = RunDirectory.create(tmp_path, "r", settings_toml="", origins={}, argv=[], task="t")
    assert summarise(run).planned is None
    lines = [
        {"seq": seq, "time": 1.0, "kind": kind, "stage": None, "epoch": None, "step": None, "data": data}
        for seq, kind, data in (
            (1, "run_started", {"stages": [{"name": "autoencoder", "epochs": 2}, {"name": "operator", "epochs": 0}]}),
            (2, "run_resumed", {"stages": [{"name": "operator", "epochs": 3}]}),
            (3, "run_resumed", {"stages": [{"name": "evaluation", "epochs": 1}]}),
        )
    ]
    texts = [json.dumps(line, separators=(",", ":")) + "\n" for line in lines]
    run.events.write_text(texts[0])
    assert summarise(run).planned == {"autoencoder"}
    run.events.write_text("".join(texts)[:-2])
    assert summarise(run).planned == {"operator"}


def test_a_stage_counts_as_done_by_its_history_and_as_there_by_its_files(copied):
    past = Past(copied.directory)
    assert past.planned == set(STAGES) and all(past.done(name) and past.has_results(name) for name in STAGES)
    assert past.seconds("operator") > 0
    (copied.path / "checkpoints/operator_ema.safetensors").unlink()
    (copied.path / "reports/evaluation.json").unlink()
    assert [name for name in STAGES if not Past(copied.directory).has_results(name)] == ["operator", "evaluation"]


@pytest.mark.parametrize(
    ("file", "attributes", "task"),
    [
        ("1D_Advection_Sols_beta1.hdf5", {}, "advection1d"),
        ("mine.h5", {"task": "burgers2d"}, "burgers2d"),
        ("mine.h5", {}, "unknown"),
        ("1D_Burgers_Sols_Nu0.01.hdf5", {"task": "my task"}, "my task"),
    ],
)
def test_a_run_is_named_and_recorded_by_what_its_data_are(settings, tmp_path, file, attributes, task):
    fields = np.random.default_rng(0).normal(size=(12, 6, 64)).astype(np.float32)
    with h5py.File(tmp_path / file, "w") as made:
        made["tensor"], made["x-coordinate"] = fields, (np.arange(64, dtype=np.float32) + 0.5) / 64
        made["t-coordinate"] = np.arange(7, dtype=np.float32)
        made.attrs.update(attributes)
    chosen = settings(f"data.path={file}", "data.task=burgers1d", "data.frames=")
    run = start_run(chosen, origins={}, argv=["test"])
    assert re.fullmatch(rf"{task.replace(' ', '-')}-\d{{8}}-\d{{6}}", run.name)
    assert json.loads((run.path / "run.json").read_text())["task"] == task
    assert [survey.task for survey in survey_data(chosen)] == [task]
