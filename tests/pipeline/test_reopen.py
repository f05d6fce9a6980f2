"""Going back to a run: its evaluation under another protocol, its caches, and the newest encoder that fits."""

import json

import numpy as np
import pytest
from terminal import Terminal
from tiny_run import without_times

from ups_engine.config.anchor import anchored
from ups_engine.config.layers import load_settings
from ups_engine.errors import CheckpointError, DataError, RunError, SettingsError
from ups_engine.latents.checking.report import check_targets
from ups_engine.pipeline.reopen import cache_context, evaluate_run, open_context
from ups_engine.pipeline.run import run_settings, start_run


@pytest.fixture
def current(finished, tmp_path):
    """Loads current settings in the working folder of the finished run."""

    def load(*overrides):
        folder = finished.terminal.folder
        loaded = load_settings(preset="smoke", overrides=overrides, folder=folder, env={}, home=tmp_path)
        return loaded.settings

    return load


@pytest.fixture
def runs_root(finished):
    return f"runs.root={finished.path.parent}"


def test_the_run_s_own_protocol_gives_the_figures_of_its_evaluation_again(copied, monkeypatch):
    monkeypatch.chdir(copied.terminal.folder)
    before = copied.evaluation()
    report, path = evaluate_run(copied.directory)
    assert path == copied.path / "reports/evaluation.json"
    assert without_times(copied.evaluation()) == without_times(before) == without_times(report.to_json())


def test_another_protocol_has_a_file_of_its_own(copied, monkeypatch):
    monkeypatch.chdir(copied.terminal.folder)
    before = (copied.path / "reports/evaluation.json").read_bytes()
    report, path = evaluate_run(copied.directory, split="val", initial_steps=3)
    assert path.name == "evaluation-val-3.json" and path.exists()
    assert (report.protocol.split, report.protocol.initial_steps) == ("val", 3)
    assert len(report.variants["operator"].rollout.nrmse_by_frame) == 6 - 3
    assert (copied.path / "reports/evaluation.json").read_bytes() == before


def test_a_protocol_that_leaves_nothing_to_predict_is_refused(copied):
    before = copied.files()
    with pytest.raises(SettingsError, match="6 given frames leave none of 6 to predict"):
        evaluate_run(copied.directory, initial_steps=6)
    assert copied.files() == before


def test_changed_data_is_refused(copied, monkeypatch):
    monkeypatch.chdir(copied.terminal.folder)
    (file,) = (copied.terminal.folder / "data/generated").iterdir()
    record = (copied.path / "data.json").read_text()
    (original,) = copied.directory.data_record()["members"][0]["files"]
    (copied.path / "data.json").write_text(record.replace(original, str(file)))
    copied.directory.vouch(copied.path / "data.json")
    evaluate_run(copied.directory)
    with file.open("r+b") as data:
        data.seek(8000)
        data.write(b"\1\2\3\4")
    with pytest.raises(DataError, match="not the data that this run was made with"):
        evaluate_run(copied.directory)


def test_a_run_that_has_not_begun_has_nothing_to_go_back_to(tmp_path, current):
    run = start_run(current(), origins={}, argv=[], folder=tmp_path / "new")
    with pytest.raises(CheckpointError, match="has not looked at its data yet"):
        open_context(run)


def test_the_caches_of_a_named_run_are_those_it_trained_on(finished, current, monkeypatch):
    monkeypatch.chdir(finished.terminal.folder)
    context = cache_context(current(), str(finished.path))
    assert [target.split for target in context.targets] == ["train", "val", "test"]
    assert str(finished.path) in context.note and context.device == "cpu"
    assert check_targets(context, deep=True).ready
    with pytest.raises(RunError, match="there is no run nobody"):
        cache_context(current(), "nobody")


def test_without_a_name_the_newest_run_whose_encoder_fits_is_taken(finished, current, runs_root, monkeypatch):
    monkeypatch.chdir(finished.terminal.folder)
    context = cache_context(current(runs_root), None)
    assert finished.path.name in context.note
    assert context.targets[0].path.exists()
    for other in ("latent.dim=6", "seed=1", "models.encoder.hidden=32", "data.val_fraction=0.2"):
        with pytest.raises(CheckpointError, match=r"no run under .* has an encoder that fits") as caught:
            cache_context(current(runs_root, other), None)
        assert "--stage autoencoder" in caught.value.hint
    assert cache_context(current(runs_root, "models.operator.hidden=32"), None).targets[0].path.exists()


def test_a_damaged_run_is_no_candidate(copied, current, monkeypatch):
    monkeypatch.chdir(copied.terminal.folder)
    root = f"runs.root={copied.path.parent}"
    assert cache_context(current(root), None).targets
    (copied.path / "checkpoints/encoder.json").write_text("{")
    with pytest.raises(CheckpointError, match="no run under"):
        cache_context(current(root), None)


def test_encoders_of_different_weights_never_share_a_cache(copied, finished, monkeypatch):
    from ups_engine.runs.checkpoints import load_result, save_result

    monkeypatch.chdir(copied.terminal.folder)
    before = {target.split: target for target in open_context(copied.directory).caches.targets()}
    tensors, sidecar = load_result(copied.directory, "encoder")
    name = next(name for name, tensor in tensors.items() if tensor.numel() > 1)
    tensors[name].view(-1)[0] = np.nextafter(tensors[name].view(-1)[0].item(), np.float32(9), dtype=np.float32).item()
    del sidecar["sha256"], sidecar["bytes"], sidecar["format"]
    save_result(copied.directory, "encoder", tensors, sidecar)
    for target in open_context(copied.directory).caches.targets():
        assert target.path != before[target.split].path, "one bit of one weight makes another cache"
        assert target.fingerprint.digest != before[target.split].fingerprint.digest


def test_a_run_s_settings_are_those_it_was_started_with(finished, current):
    assert run_settings(finished.directory) == anchored(current(), finished.terminal.folder)


def test_a_run_finds_its_data_and_caches_from_any_folder_and_after_a_move_of_the_project(copied, tmp_path):
    elsewhere = Terminal(tmp_path)
    done = elsewhere.run("cache", "check", copied.path, "--json")
    assert done.code == 0, done.err
    moved = copied.terminal.folder.rename(tmp_path / "moved")
    done = elsewhere.run("cache", "check", moved / "run", "--json")
    assert done.code == 0 and json.loads(done.out)["ready"], done.err
