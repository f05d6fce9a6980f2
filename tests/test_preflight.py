"""The preflight: what each check says of real data, runs and folders. It neither raises nor changes anything."""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tiny_run import STAGES, TRAIN, wait_until

from ups_app.cli.output import print_preflight
from ups_engine.config.layers import load_settings
from ups_engine.data.prepare import prepare_data
from ups_engine.preflight import Check, Preflight, attempt, preflight
from ups_engine.preflight.machine import check_gpu, check_memory, check_others
from ups_engine.preflight.places import Writing, check_disks
from ups_engine.runs.directory import RunDirectory
from ups_engine.telemetry.gpu import GpuDevice
from ups_engine.telemetry.memory import MemoryBudget

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
GIB = 1 << 30
ROOMY = MemoryBudget(40 * GIB, "host memory", 64 * GIB)


def found(outcome):
    return {check.name: check for check in outcome.checks}


def look(check, *arguments, **named):
    return attempt("it", lambda: check(*arguments, **named))


def one_sentence(text):
    return "\n" not in text and ". " not in text and not text.endswith(".") and text == text.strip() and text


def gpu(free, *, utilisation=0.0, index=0):
    return GpuDevice(index, "H200", f"GPU-{index}", free, 140 * GIB, utilisation, None, None)


def test_a_run_on_an_empty_machine_is_ready_and_every_sentence_is_one(settings, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    outcome = preflight(settings())
    checks = found(outcome)
    assert outcome.ready, outcome
    assert list(checks) == ["stages", "data", "settings", "folder", "gpu", "cache", "disk", "memory", "others"]
    assert all(one_sentence(check.sentence) for check in outcome.checks), outcome
    assert all(stage in checks["stages"].sentence for stage in STAGES)
    assert "UPS solves it first: 10 trajectories of 6 frames on 32 points" in checks["data"].sentence
    assert "32 points become 4 tokens of 4 channels" in checks["settings"].sentence
    assert "made once the encoder is trained: 10 trajectories" in checks["cache"].sentence
    assert sorted(tmp_path.rglob("*")) == before, "looking changes nothing"


def test_what_is_estimated_is_about_what_a_run_leaves(finished, monkeypatch):
    from ups_engine.data.survey import survey_data
    from ups_engine.pipeline.forecast import Forecast, cache_bytes
    from ups_engine.pipeline.run import run_settings

    monkeypatch.chdir(finished.terminal.folder)
    own = run_settings(finished.directory)
    forecast = Forecast(own, survey_data(own))
    chunks = list((finished.terminal.folder / "data/latent_cache").glob("*/latents/c.*"))
    assert cache_bytes(forecast.layouts) == sum(path.stat().st_size for path in chunks)
    left = sum(path.stat().st_size for path in finished.path.glob("checkpoints/*.safetensors"))
    estimated = forecast.checkpoint_bytes(STAGES)
    assert left / 2 < estimated - forecast.checkpoint_bytes(()) < 6 * left
    assert forecast.checkpoint_bytes(["steady_prior"]) < estimated


@pytest.mark.parametrize(
    ("overrides", "name", "said"),
    [
        (["data.path=/no/such.h5"], "data", "no such file or folder: /no/such.h5"),
        (["data.task=ns2d"], "data", "no files of task 'ns2d'"),
        (["data.patch_size=7"], "settings", "patch sizes that do: 1, 2, 4, 8"),
        (["training.rollout_horizon=6"], "settings", "lower training.rollout_horizon"),
        (["runs.name=a/b"], "folder", "cannot be the name of a run"),
        (["runtime.device=tpu"], "gpu", "use auto, cpu, cuda or cuda:N"),
        ([f"stages.{name}.epochs=0" for name in STAGES], "stages", "nothing to do"),
        (["stages.autoencoder.epochs=0"], "stages", "needs encoder"),
        (["latent.residency=gpu", "runtime.device=cpu"], "memory", "training runs on the CPU"),
    ],
)
def test_every_mistake_is_a_bad_check_that_says_what_to_do(settings, overrides, name, said):
    outcome = preflight(settings(*overrides))
    check = found(outcome)[name]
    assert (check.verdict, outcome.ready) == ("bad", False)
    assert said in check.sentence and "\n" not in check.sentence


def test_stages_that_are_asked_for_without_what_they_need(settings):
    check = found(preflight(settings(), only=["operator"]))["stages"]
    assert check.verdict == "bad" and "--stage autoencoder" in check.sentence
    alone = found(preflight(settings(), only=["autoencoder"]))
    assert alone["cache"].sentence == "none of the stages to run needs a latent cache"
    assert "no latents to hold" in alone["memory"].sentence


def test_files_that_are_there_are_described_and_a_torn_or_spoilt_one_is_found(settings):
    chosen = settings()
    (path,) = prepare_data(chosen).members[0].info.files
    good = found(preflight(chosen))["data"]
    assert good.verdict == "good" and "PDEBench single file, 1-D" in good.sentence
    assert "8 trajectories train, 1 validate, 1 test" in good.sentence
    torn = Path("torn_burgers.hdf5")
    torn.write_bytes(path.read_bytes()[:3000])
    assert found(preflight(settings(f"data.path={torn}")))["data"].verdict == "bad"
    spoilt = Path("spoilt_burgers.hdf5")
    shutil.copy(path, spoilt)
    with h5py.File(spoilt, "r+") as file:
        file["tensor"][0, 0, 3] = float("nan")
    bad = found(preflight(settings(f"data.path={spoilt}")))["data"]
    assert bad.verdict == "bad" and "data.exclude=[0]" in bad.sentence


def test_boundaries_that_the_fields_contradict_are_a_warning(settings):
    chosen = settings("data.path=ramps.h5")
    with h5py.File(chosen.data.path, "w") as file:
        file["tensor"] = np.linspace(0, 1, 32) * np.linspace(1, 2, 10)[:, None, None] * np.ones((6, 1))
        file["x-coordinate"], file["t-coordinate"] = np.arange(32) / 32, np.arange(6) * 0.1
    data = found(preflight(chosen))["data"]
    assert data.verdict == "warning" and one_sentence(data.sentence)
    assert "u jumps at the seam" in data.sentence
    stated = settings(f"data.path={chosen.data.path}", "data.boundary=dirichlet")
    assert found(preflight(stated))["data"].verdict == "good"


def test_a_folder_that_is_taken_or_read_only(settings, finished, tmp_path):
    root = finished.path.parent
    taken = found(preflight(settings(f"runs.root={root}", f"runs.name={finished.path.name}")))["folder"]
    assert taken.verdict == "bad" and f"--resume {finished.path.name}" in taken.sentence
    taken = found(preflight(settings(), folder=finished.path))["folder"]
    assert taken.verdict == "bad" and "choose another --run-dir" in taken.sentence
    (tmp_path / "empty").mkdir()
    assert found(preflight(settings(), folder=tmp_path / "empty"))["folder"].verdict == "good"
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    bad = found(preflight(settings(f"runs.root={in_the_way}")))
    assert "is a file" in bad["folder"].sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written(settings, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    checks = found(preflight(settings("runs.root=closed/runs")))
    assert "is not writable" in checks["folder"].sentence and checks["disk"].verdict == "bad"


def test_a_finished_run_has_nothing_left_and_one_without_results_needs_no_more_than_before(
    finished, copied, monkeypatch
):
    monkeypatch.chdir(copied.terminal.folder)
    own = load_settings(env={}, home=copied.terminal.folder).settings
    checks = found(preflight(own, copied.directory))
    assert checks["stages"].verdict == "warning" and "nothing is left" in checks["stages"].sentence
    assert "all 10 trajectories are encoded" in checks["cache"].sentence
    (copied.path / "checkpoints/steady_prior.safetensors").unlink()
    again = preflight(own, copied.directory)
    assert again.ready and "will run steady_prior (2), evaluation" in found(again)["stages"].sentence


def test_a_cache_that_lost_or_spoilt_trajectories_is_told(copied, monkeypatch):
    monkeypatch.chdir(copied.terminal.folder)
    (store,) = (copied.terminal.folder / "data/latent_cache").glob("burgers1d-train-*.zarr")
    own = load_settings(env={}, home=copied.terminal.folder).settings
    (store / "latents/c.2.0.0.0").unlink()
    cache = found(preflight(own, copied.directory))["cache"]
    assert cache.verdict == "good" and "9 of 10 trajectories are encoded" in cache.sentence
    (store / "latents/c.3.0.0.0").write_bytes(b"short")
    cache = found(preflight(own, copied.directory))["cache"]
    assert cache.verdict == "warning" and cache.sentence.startswith("1 damaged, 8 of 10")


def test_data_that_changed_under_a_run_is_refused(copied, monkeypatch):
    monkeypatch.chdir(copied.terminal.folder)
    (path,) = (copied.terminal.folder / "data/generated").iterdir()
    record = copied.directory.data_record()
    record["members"][0]["files"] = [str(path)]
    copied.directory.write_data_record(record)
    with h5py.File(path, "r+") as file:
        file["tensor"][0] = 1.0
    data = found(preflight(load_settings(env={}).settings, copied.directory))["data"]
    assert data.verdict == "bad" and "not the data that this run was made with" in data.sentence


def test_a_damaged_run_is_one_bad_check(copied):
    (copied.path / "settings.toml").write_text("seed = [")
    outcome = preflight(load_settings(env={}).settings, copied.directory)
    assert not outcome.ready and [check.name for check in outcome.checks] == ["settings"]


def test_another_run_on_the_same_cpu_and_a_run_that_is_at_work_already(tiny_folder, monkeypatch):
    monkeypatch.chdir(tiny_folder.folder)
    command = tiny_folder.start(*TRAIN, "--set", "runs.name=busy", "--set", "stages.autoencoder.epochs=100000")
    run = RunDirectory(tiny_folder.folder / "runs/busy")
    own = load_settings(preset="smoke", env={}).settings
    try:
        wait_until(
            lambda: run.events.exists() and b'"kind":"heartbeat"' in run.events.read_bytes(), command, "heartbeat"
        )
        other = found(preflight(own))["others"]
        assert other.verdict == "warning" and "busy is running on the same CPU" in other.sentence
        assert "`ups runs pause busy`" in other.sentence
        outcome = preflight(own, run)
        assert found(outcome)["folder"].verdict == "bad" and "at work already" in found(outcome)["folder"].sentence
        assert found(outcome)["others"].verdict == "good", "a run is not in its own way"
        on_gpu = look(check_others, Path("runs"), CUDA, [gpu(100 * GIB)], None)
        assert on_gpu.verdict == "good" and "1 on other devices" in on_gpu.sentence
    finally:
        command.kill()
    assert found(preflight(own))["others"].verdict == "good", "a dead run is in nobody's way"


def test_the_gpu_is_judged_by_what_is_free_and_how_busy_it_is():
    assert look(check_gpu, CUDA, [gpu(139 * GIB)], "auto").verdict == "good"
    assert "somebody else holds 40.0 GiB" in look(check_gpu, CUDA, [gpu(100 * GIB)], "auto").sentence
    assert "90 % busy" in look(check_gpu, CUDA, [gpu(139 * GIB, utilisation=90.0)], "auto").sentence
    assert look(check_gpu, CUDA, [gpu(GIB // 2)], "auto").verdict == "bad"
    assert look(check_gpu, CPU, [], "auto").verdict == look(check_gpu, CPU, [], "cpu").verdict == "good"
    assert look(check_gpu, CPU, [gpu(GIB)], "cpu").verdict == "warning"


def test_memory_warns_where_training_would_be_slow_or_cramped():
    assert look(check_memory, GIB, ROOMY, CPU, [], "auto").verdict == "good"
    assert look(check_memory, 100 * GIB, ROOMY, CPU, [], "auto").verdict == "warning"
    assert look(check_memory, 100 * GIB, ROOMY, CPU, [], "disk").verdict == "good"
    assert look(check_memory, 100 * GIB, ROOMY, CPU, [], "ram").verdict == "warning"
    assert look(check_memory, GIB, MemoryBudget(GIB // 2, "cgroup /", GIB), CPU, [], "auto").verdict == "warning"


def test_disks_are_counted_together_where_folders_share_one(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    a, b = tmp_path / "not/yet", tmp_path / "there"
    assert look(check_disks, [Writing("data", a, 1000), Writing("latents", b, 0)]).verdict == "good"
    assert look(check_disks, [Writing("data", a, free // 3), Writing("latents", b, free // 3)]).verdict == "good"
    too_much = look(check_disks, [Writing("data", a, free // 3 * 2), Writing("latents", b, free // 3 * 2)])
    assert too_much.verdict == "bad" and "of data" in too_much.sentence and "of latents" in too_much.sentence
    assert look(check_disks, [Writing("data", a, int(free * 0.95))]).verdict == "warning"


def test_it_is_printed_aligned_or_as_json(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    outcome = Preflight((Check("data", "good", "it is all there"), Check("folder", "bad", "word " * 20 + "end")))
    print_preflight(outcome, as_json=True)
    assert json.loads(capsys.readouterr().out) == outcome.to_json()
    print_preflight(outcome, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "good     data    it is all there"
    assert lines[1].startswith("bad      folder  word word") and lines[2].startswith(" " * 17 + "word")
    assert max(map(len, lines)) <= 60 and lines[-1] == "not ready: mend what is bad"
