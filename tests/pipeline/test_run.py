"""What a run leaves, that it is the same every time, and that no way of ending it early changes what it comes to."""

import json
import random
import shutil
import signal
import time

import pytest
import torch
from tiny_run import (
    STAGES,
    TINY,
    TRAIN,
    TRAINED,
    TinyRun,
    train_tiny,
    wait_until,
    without_times,
    working_folder,
)

from ups_engine.config.layers import load_settings
from ups_engine.errors import RunError
from ups_engine.pipeline.run import run_pipeline
from ups_engine.runs.checkpoints import load_result, save_result
from ups_engine.runs.events import KINDS
from ups_engine.runs.resume import ResumeStore

SET_BY_SAVING = {"sha256", "bytes", "format"}
EVERY_STEP = ("--set", "training.checkpoint_interval=0")
SCORES = {"unit", "nrmse", "rmse", "rmse_over_std", "crmse", "brmse", "frmse", "nrmse_by_frame"}


def test_a_finished_run_leaves_every_file_of_a_run(finished):
    assert finished.done.code == 0
    files = {path for path in finished.files() if path.count("/") == 0}
    assert files == {"run.json", "settings.toml", "origins.json", "data.json", "events.jsonl"} | {
        "owner.lock",
        "record.lock",
    }
    record = json.loads((finished.path / "run.json").read_text())
    assert record["owner"] is None and record["task"] == "burgers1d" and record["argv"][1] == "train"
    origins = json.loads((finished.path / "origins.json").read_text())
    assert origins["latent.dim"] == "ups.toml" and origins["models.operator.hidden"] == "preset smoke"
    splits = json.loads((finished.path / "data.json").read_text())["members"][0]["splits"]
    assert sorted(row for rows in splits.values() for row in rows) == list(range(10))


def test_every_result_has_a_sidecar_that_says_what_it_is(finished):
    stems = {"encoder", "decoder", "steady_prior"}
    stems |= {stem + ema for stem in ("operator", "diffusion_residual", "consistency") for ema in ("", "_ema")}
    assert set(finished.checkpoints()) == {f"{stem}.safetensors" for stem in stems}
    for stem in stems:
        tensors, sidecar = load_result(finished.directory, stem)
        assert tensors and all(torch.isfinite(tensor).all() for tensor in tensors.values())
        assert len(sidecar["settings_fingerprint"]) == 64 and sidecar["settings"]["latent.dim"] == 4
        assert sidecar["metrics"]["score"] > 0 and set(sidecar["normalisation"]) == {"mean", "std"}
        assert sidecar["stage"] in TRAINED
    assert not any((finished.path / "checkpoints/resume").iterdir())


def test_the_history_is_strict_json_without_a_gap(finished):
    events = finished.events()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    keys = ["seq", "time", "kind", "stage", "epoch", "step", "data"]
    assert all(list(event) == keys and event["kind"] in KINDS for event in events)
    assert [e["stage"] for e in events if e["kind"] == "stage_finished"] == list(STAGES)
    assert (events[0]["kind"], events[-1]["kind"]) == ("run_started", "run_finished")
    assert events[-1]["data"] == {"outcome": "finished"}
    beats = [event["data"] for event in events if event["kind"] == "heartbeat"]
    machine = {"ram_bytes", "ram_available_bytes", "ram_total_bytes", "ram_limit", "cpu_percent", "gpu", "throughput"}
    assert set(beats[0]) == machine and beats[0]["ram_bytes"] > 1e7
    told = next(beat["cache"] for beat in beats if "cache" in beat)
    assert (told["residency"], told["complete"], told["samples"]) == ("ram", 10, 10)


def test_a_finished_run_shows_every_stage_done(finished):
    shown = finished.show()
    assert (shown["state"], shown["stage"], shown["lease"]) == ("finished", None, None)
    assert [(stage["name"], stage["state"]) for stage in shown["stages"]] == [(name, "done") for name in STAGES]
    assert all(stage["epoch"] == stage["epochs"] > 0 and stage["best"] > 0 for stage in shown["stages"])
    assert shown["last_event_seq"] == finished.events()[-1]["seq"]


def test_the_evaluation_holds_every_key_and_persistence_beside_every_variant(finished):
    found = finished.evaluation()
    assert found["protocol"] == {
        "split": "test",
        "trajectories": 1,
        "frames": 6,
        "initial_steps": 1,
        "resolution": [32],
        "definition": "per-frame nRMSE, mean over trajectory, channel, frame",
    }
    assert list(found["variants"]) == ["persistence", "operator", "diffusion", "consistency"]
    assert found["selected"] in found["variants"] and found["reconstruction"]["nrmse"] > 0
    evaluations = {"persistence": 0, "operator": 1, "diffusion": 1 + 4, "consistency": 1 + 1}
    for name, variant in found["variants"].items():
        assert set(variant) == {"one_step", "rollout", "evaluations_per_step", "milliseconds_per_step"}
        for errors in (variant["one_step"], variant["rollout"]):
            assert set(errors) == {"nrmse", "rmse_over_std", "nrmse_by_frame", "fields"}
            (field,) = errors["fields"].values()
            assert set(field) == SCORES and set(field["frmse"]) == {"low", "mid", "high"}
            assert len(errors["nrmse_by_frame"]) == len(field["nrmse_by_frame"]) == 5 and errors["nrmse"] > 0
        assert variant["evaluations_per_step"] == evaluations[name] and variant["milliseconds_per_step"] > 0


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(finished, tmp_path):
    twin = train_tiny(working_folder(tmp_path / "twin"))
    assert twin.checkpoints() == finished.checkpoints()
    assert without_times(twin.evaluation()) == without_times(finished.evaluation())
    other = train_tiny(working_folder(tmp_path / "other"), "--set", "seed=1")
    assert not set(other.checkpoints().values()) & set(finished.checkpoints().values())
    assert other.evaluation()["variants"]["operator"] != finished.evaluation()["variants"]["operator"]


def saves(run: TinyRun, stage: str, first_seq: int) -> int:
    """Resumable states that a stage has told since an event."""
    events = [event for event in run.events() if event["seq"] > first_seq and event["stage"] == stage]
    return sum(event["kind"] == "checkpoint" and "resume" in event["data"] for event in events)


def test_a_run_killed_in_every_stage_ends_with_the_bits_of_one_that_was_not(finished, tiny_folder):
    draw = random.Random()
    run = TinyRun(tiny_folder, tiny_folder.folder / "run", finished.done)
    command = tiny_folder.start(*TRAIN, *EVERY_STEP, "--run-dir", run.path)
    stood = []
    for stage in TRAINED:
        seen = len(run.events())
        wanted = draw.randint(1, 4)
        wait_until(lambda: saves(run, stage, seen) >= wanted, command, f"{wanted} saves of {stage}")  # noqa: B023
        time.sleep(draw.uniform(0, 0.02))
        command.send(signal.SIGKILL)
        assert command.wait().code == -signal.SIGKILL
        stood.append(run.show()["state"])
        command = tiny_folder.start("train", "--headless", "--resume", run.path)
    assert command.wait().code == 0
    assert set(stood) == {"lost"}
    assert run.checkpoints() == finished.checkpoints()
    assert without_times(run.evaluation()) == without_times(finished.evaluation())
    assert run.stage_states() == dict.fromkeys(STAGES, "done")
    events = run.events()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    resumed = [event["data"]["stage"] for event in events if event["kind"] == "run_resumed"]
    assert resumed == list(TRAINED)


def cut_history_before(run: TinyRun, kind: str, stage: str) -> None:
    """What the disk holds of the history when the process dies just before an event is written."""
    lines = (run.path / "events.jsonl").read_bytes().splitlines(keepends=True)
    found = next(i for i, e in enumerate(run.events()) if (e["kind"], e["stage"]) == (kind, stage))
    (run.path / "events.jsonl").write_bytes(b"".join(lines[:found]))


def test_a_stage_that_was_killed_between_its_results_and_the_word_about_them_is_done(copied, finished):
    cut_history_before(copied, "stage_finished", "operator")
    for stem in ("diffusion_residual", "consistency", "steady_prior"):
        for path in copied.path.glob(f"checkpoints/{stem}*"):
            path.unlink()
    done = copied.resume()
    assert done.code == 0 and "operator: done already" in done.err
    assert copied.stage_states() == dict.fromkeys(STAGES, "done")
    assert copied.checkpoints() == finished.checkpoints()
    best = {stage["name"]: stage["best"] for stage in copied.show()["stages"]}
    assert best == {stage["name"]: stage["best"] for stage in finished.show()["stages"]}


def test_an_evaluation_that_was_killed_is_made_again_and_a_finished_one_is_not(copied, finished):
    report = copied.path / "reports/evaluation.json"
    cut_history_before(copied, "evaluation", "evaluation")
    report.unlink()
    assert copied.resume().code == 0 and without_times(copied.evaluation()) == without_times(finished.evaluation())
    before = copied.files()
    done = copied.resume()
    assert done.code == 0 and f"run {copied.path.name} is finished already; nothing is left to do" in done.err
    assert "consistency" in done.out, "the evaluation is shown all the same"
    assert {**before, "run.json": ""} == {**copied.files(), "run.json": ""}


def test_an_evaluation_that_fails_fails_the_run(copied):
    tensors, sidecar = load_result(copied.directory, "operator_ema")
    for entry in SET_BY_SAVING:
        del sidecar[entry]
    save_result(copied.directory, "operator_ema", {k: t * torch.nan for k, t in tensors.items()}, sidecar)
    done = copied.resume("--stage", "evaluation")
    assert done.code == 1 and done.out == ""
    assert "the operator's single-step predictions are not finite" in done.err
    shown = copied.show()
    assert shown["state"] == "failed" and copied.stage_states()["evaluation"] == "failed"


def test_an_evaluation_that_selects_persistence_warns(copied):
    tensors, sidecar = load_result(copied.directory, "operator_ema")
    for entry in SET_BY_SAVING:
        del sidecar[entry]
    draw = torch.Generator().manual_seed(0)
    noisy = {
        name: tensor + torch.randn(tensor.shape, generator=draw) if name.endswith("weight") else tensor
        for name, tensor in tensors.items()
    }
    save_result(copied.directory, "operator_ema", noisy, sidecar)
    done = copied.resume("--stage", "evaluation")
    assert done.code == 0 and copied.evaluation()["selected"] == "persistence"
    assert "warning: on the validation split nothing that was trained predicts better than persistence" in done.err


def test_stages_run_alone_where_what_they_need_is_there_and_earlier_ones_stay_done(tiny_folder, finished):
    run = train_tiny(tiny_folder, "--stage", "autoencoder")
    assert run.done.code == 0 and run.done.out == ""
    assert set(run.checkpoints()) == {"encoder.safetensors", "decoder.safetensors"}
    assert run.stage_states() == {"autoencoder": "done", **dict.fromkeys(STAGES[1:], "skipped")}
    assert run.resume("--stage", "operator", "--stage", "evaluation").code == 0
    assert list(run.evaluation()["variants"]) == ["persistence", "operator"]
    states = run.stage_states()
    assert [name for name in STAGES if states[name] == "done"] == ["autoencoder", "operator", "evaluation"]
    assert run.resume("--stage", "steady_prior").code == 0
    same = {name: digest for name, digest in finished.checkpoints().items() if name in run.checkpoints()}
    assert run.checkpoints() == same and len(same) == 5


def test_stages_left_out_or_of_no_epochs_leave_no_results(tiny_folder):
    left_out = ("--skip", "diff_residual", "--skip", "consistency_distill", "--set", "stages.steady_prior.epochs=0")
    run = train_tiny(tiny_folder, *left_out)
    assert run.done.code == 0 and "steady_prior: skipped, stages.steady_prior.epochs = 0" in run.done.err
    assert "diff_residual: skipped, left out with --skip" in run.done.err
    assert not any("diffusion" in name or "consistency" in name or "steady" in name for name in run.checkpoints())
    assert list(run.evaluation()["variants"]) == ["persistence", "operator"]
    assert "steady_prior" not in run.evaluation()


def killed_in(stage, folder):
    """A run that was killed when this stage had saved two resumable states."""
    run = TinyRun(folder, folder.folder / "run", None)
    command = folder.start(*TRAIN, *EVERY_STEP, "--run-dir", run.path)
    wait_until(lambda: saves(run, stage, 0) >= 2, command, f"saves of {stage}")
    command.send(signal.SIGKILL)
    command.wait()
    return run


def test_a_half_done_stage_can_be_passed_over(tiny_folder):
    run = killed_in("operator", tiny_folder)
    tensors, sidecar = load_result(run.directory, "decoder")
    saved = {path: path.read_bytes() for path in run.path.glob("checkpoints/decoder.*")}
    changed = {name: tensor * 2 for name, tensor in tensors.items()}
    save_result(run.directory, "decoder", changed, {key: sidecar[key] for key in sidecar.keys() - SET_BY_SAVING})
    refused = run.resume()
    assert refused.code == 1 and "of stage operator was made with another decoder than the run has now" in refused.err
    for path, data in saved.items():
        path.write_bytes(data)
    done = run.resume("--stage", "steady_prior")
    assert done.code == 0 and "warning: stage operator is half done" in done.err
    states = run.stage_states()
    assert (states["autoencoder"], states["operator"], states["steady_prior"]) == ("done", "skipped", "done")


def test_other_settings_than_those_of_a_result_are_named_key_by_key(copied, finished):
    settings = copied.path / "settings.toml"
    settings.write_text(settings.read_text().replace("dim = 4", "dim = 6").replace("heads = 2", "heads = 4"))
    copied.directory.vouch(settings)
    done = copied.resume("--stage", "evaluation")
    assert done.code == 1 and "Traceback" not in done.err
    assert "encoder.safetensors was made with other latent.dim" in done.err
    shutil.copy(finished.path / "settings.toml", settings)
    settings.write_text(settings.read_text().replace("heads = 2", "heads = 4"))
    copied.directory.vouch(settings)
    done = copied.resume("--stage", "evaluation")
    assert done.code == 1 and "operator_ema.safetensors was made with other models.operator.heads" in done.err


def test_an_encoder_of_another_run_is_refused(copied, tmp_path):
    other = train_tiny(working_folder(tmp_path / "other", TINY.replace("dim = 4", "dim = 6")), "--stage", "autoencoder")
    for path in other.path.glob("checkpoints/encoder.*"):
        shutil.copy(path, copied.path / "checkpoints")
    done = copied.resume("--stage", "evaluation")
    assert done.code == 1 and "encoder.safetensors was made with other latent.dim" in done.err
    assert "train that stage again in a new run" in done.err.splitlines()[-1]


def test_a_half_done_stage_refuses_other_settings(tiny_folder):
    run = killed_in("autoencoder", tiny_folder)
    settings = run.path / "settings.toml"
    settings.write_text(settings.read_text().replace("dim = 4", "dim = 6"))
    run.directory.vouch(settings)
    done = run.resume()
    assert done.code == 1 and "the resumable state of stage autoencoder was made with other latent.dim" in done.err


def test_a_half_done_stage_of_networks_that_computed_otherwise_is_refused(tiny_folder):
    run = killed_in("autoencoder", tiny_folder)
    store = ResumeStore(run.directory.resume)
    tensors, state = store.load()
    assert state.pop("version") == 3
    store.save(tensors, state)  # as the first version did, which named none
    before = run.files()
    done = run.resume()
    assert done.code == 1 and "is of an earlier UPS, which computed otherwise" in done.err
    assert f"remove {run.directory.resume} to begin the stage anew" in done.err.replace("\n", " ")
    assert run.files().items() >= {k: v for k, v in before.items() if "resume" in k}.items()


def test_a_run_is_not_worked_on_twice_at_once(copied):
    from ups_engine.runs.lease import Lease

    with Lease.acquire(copied.directory), pytest.raises(RunError, match="is owned by a live process"):
        run_pipeline(copied.directory)


@pytest.mark.parametrize(
    ("largest_file", "what"),
    [(100_000, "_tend0.2_seed0.hdf5"), (30_000, "tensors.safetensors"), (15_000, "operator.safetensors")],
)
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_afterwards(finished, tmp_path, largest_file, what):
    """Full while the data is made, while a state is saved, while a result is stored."""
    folder = working_folder(tmp_path / "full")
    if largest_file < 100_000:
        shutil.copytree(finished.terminal.folder / "data/generated", folder.folder / "data/generated")
    path = folder.folder / "run"
    saving = EVERY_STEP if what.startswith("tensors") else ()
    done = folder.run(*TRAIN, *saving, "--run-dir", path, largest_file=largest_file)
    problem = done.err[done.err.index("error: ") :]
    assert done.code == 1 and len(problem.splitlines()) == 2 and "Traceback" not in done.err
    assert what in problem and ("File too large" in problem or "file size limit is reached" in problem)
    run = TinyRun(folder, path, done)
    assert run.show()["state"] == "failed"
    assert run.resume().code == 0
    assert run.checkpoints() == finished.checkpoints()


def test_a_disk_too_full_for_a_run_keeps_nothing_of_it(tiny_folder):
    done = tiny_folder.run(*TRAIN, "--run-dir", "run", largest_file=9_000)
    assert done.code == 1 and "error: cannot write origins.json: the file size limit is reached" in done.err
    assert not (tiny_folder.folder / "data").exists() and not any((tiny_folder.folder / "run").iterdir())


def test_a_loss_that_stays_non_finite_fails_the_stage(tiny_folder):
    diverging = ("--set", "stages.autoencoder.optimizer.lr=1e30", "--set", "training.nonfinite_limit=3")
    run = train_tiny(tiny_folder, *diverging)
    assert run.done.code == 1
    assert run.show()["state"] == "failed" and run.stage_states()["autoencoder"] == "failed"
    assert "error: " in run.done.err and "learning rate" in run.done.err.splitlines()[-1]
    assert run.checkpoints() == {}


def test_a_run_in_a_thread_takes_no_signals_and_finishes(finished, tmp_path, monkeypatch):
    import threading

    from ups_engine.pipeline.run import start_run

    monkeypatch.chdir(working_folder(tmp_path / "thread").folder)
    resolved = load_settings(preset="smoke", env={})
    run = start_run(resolved.settings, origins=resolved.origins, argv=["x"])
    thread = threading.Thread(target=run_pipeline, args=(run,), kwargs={"only": ["autoencoder"]})
    thread.start()
    thread.join()
    assert load_result(run, "encoder")[1]["sha256"] == finished.checkpoints()["encoder.safetensors"]
