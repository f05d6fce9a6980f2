"""`ups train` as a batch system and a user at a terminal meet it: lines, exit codes, signals, refusals."""

import json
import os
import pty
import re
import select
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from terminal import Terminal
from tiny_run import STAGES, TRAIN, TRAINED, TinyRun, read_events, train_tiny, wait_until

from ups_app.cli import main as frame

LONG = ("--set", "stages.autoencoder.epochs=100000")
"""A first stage that ends only when it is told to."""
STAMP = r"\d\d:\d\d:\d\d "


def in_stage(run, stage="autoencoder"):
    """Whether a stage trains: its first step or epoch has been told."""
    events = read_events(run.path / "events.jsonl")
    return any(event["stage"] == stage and event["kind"] in ("step", "epoch") for event in events)


@pytest.fixture
def training(tiny_folder):
    """A run in the middle of its first stage."""
    run = TinyRun(tiny_folder, tiny_folder.folder / "run", None)
    command = tiny_folder.start(*TRAIN, *LONG, "--run-dir", run.path)
    wait_until(lambda: in_stage(run), command, "an epoch")
    yield run, command
    if command.running:
        command.send(signal.SIGKILL)
        command.wait()


def test_stdout_carries_the_evaluation_and_nothing_else(finished):
    lines = finished.done.out.splitlines()
    assert lines[0] == "test split: 1 trajectories of 6 frames on 32 points, 1 given"
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[0] for line in lines[4:8]] == ["persistence", "operator", "diffusion", "consistency"]


def test_every_line_of_progress_has_the_time_and_says_stage_epoch_loss_and_score(finished):
    lines = finished.done.err.splitlines()
    assert lines[0] == f"run {finished.path.name} in {finished.path}"
    assert lines[-1] == f"report: {finished.path / 'reports/evaluation.json'}"
    assert all(re.match(STAMP, line) for line in lines[1:-1])
    said = [re.sub(STAMP, "", line) for line in lines]
    for stage in TRAINED:
        (first, *_) = [line for line in said if line.startswith(f"{stage}: epoch 1/")]
        assert re.search(r"loss [\d.e-]+  val error [\d.]+ \(best\)  .*lr [\d.e-]+  [\d,]+ samples/s", first)
        assert any(re.match(rf"{stage}: done in [\d.]+ s, best val error [\d.]+", line) for line in said)
    assert any(re.match(r"evaluation: \w+ selected, rollout nRMSE [\d.]+, persistence [\d.]+$", line) for line in said)


def test_data_device_and_residency_are_told(finished):
    said = finished.done.err
    assert "computing on the CPU with" in said
    assert "solving burgers1d: 10 trajectories, 32 points, 6 frames to t = 0.2, nu = 0.01, seed 0" in said
    assert "u on 32 points, 6 frames, dt 0.04; 8 trajectories train, 1 validate, 1 test" in said
    assert re.search(r"latent residency ram: .* fit into .* free under .*; training runs on the CPU", said)


def test_threads_sleep_between_operations_unless_the_user_says_otherwise(monkeypatch, capsys):
    for given, kept in ((None, "passive"), ("active", "active")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        with pytest.raises(SystemExit):
            frame.main(["--version"])
        assert os.environ["OMP_WAIT_POLICY"] == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.batchsize=8"], "training.batchsize"),
        (["--set", "latent.tokens=3"], "latent.tokens = 3, but a 32 grid in patches of 8 has 4 tokens"),
        (["--set", "data.patch_size=5"], "data.patch_size = 5 does not tile the 32 grid"),
        (["--stage", "encoder"], "there is no stage 'encoder'"),
        (["--skip", "encoder"], "there is no stage 'encoder'"),
        (["--stage", "operator"], "stage operator needs encoder, decoder, which this run does not have"),
        (["--stage", "evaluation"], "stage evaluation needs encoder, decoder, operator_ema"),
        (["--resume", "some", "--set", "seed=1"], "a resumed run keeps the settings it was started with"),
        (["--resume", "some", "--data", "x.h5"], "a resumed run keeps the settings it was started with"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_usage_and_settings_end_with_2_and_make_nothing(tiny_folder, arguments, message):
    given = TRAIN[:2] if "--resume" in arguments else TRAIN
    done = tiny_folder.run(*given, *arguments)
    assert done.code == 2 and done.out == ""
    assert message in done.err and 1 <= len(done.err.splitlines()) <= 2 and done.err.startswith("error: ")
    assert [path.name for path in tiny_folder.folder.iterdir()] == ["ups.toml"]


def foreign(path):
    with h5py.File(path, "w") as file:
        file["somebody"] = np.zeros((3, 3))


def truncated(path):
    pdebench(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def no_hdf5(path):
    path.write_text("u v w\n1 2 3\n")


def untileable(path):
    pdebench(path, points=36)


def pdebench(path, points=32, bad=None):
    rows, frames = 10, 6
    x = (np.arange(points) + 0.5) / points
    tensor = np.sin(2 * np.pi * (x + 0.1 * np.arange(rows)[:, None, None])) * np.ones((rows, frames, points))
    if bad is not None:
        tensor[bad] = np.nan
    with h5py.File(path, "w") as file:
        file["tensor"], file["x-coordinate"] = tensor.astype("f4"), x.astype("f4")
        file["t-coordinate"] = np.arange(frames + 1, dtype="f4")


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (None, 1, "no such file or folder: data.h5"),
        (foreign, 1, "data.h5 is HDF5, but of a layout that UPS does not read: it holds somebody (3, 3)"),
        (truncated, 1, "data.h5"),
        (no_hdf5, 1, "data.h5"),
        (untileable, 2, "data.patch_size = 8 does not tile the 36 grid"),
    ],
)
def test_bad_data_is_one_message_and_leaves_no_run_and_the_file_as_it_is(tiny_folder, make, code, message):
    path = tiny_folder.folder / "data.h5"
    if make:
        make(path)
    before = path.read_bytes() if make else None
    done = tiny_folder.run(*TRAIN, "--data", "data.h5")
    assert done.code == code and done.out == "" and message in done.err
    assert 1 <= len(done.err.splitlines()) <= 2 and "Traceback" not in done.err
    assert not (tiny_folder.folder / "runs").exists()
    assert make is None or path.read_bytes() == before


def test_a_bad_value_stops_the_run_before_training_and_leaving_it_out_mends_it(tiny_folder):
    path = tiny_folder.folder / "data.h5"
    pdebench(path, bad=(7, 3, 5))
    before = path.read_bytes()
    done = tiny_folder.run(*TRAIN, "--data", path, "--run-dir", "run")
    assert done.code == 1 and "trajectory 7" in done.err and "frame 3" in done.err
    assert done.err.splitlines()[-1].strip().endswith("--set 'data.exclude=[7]'")
    run = TinyRun(tiny_folder, tiny_folder.folder / "run", done)
    assert run.show()["state"] == "failed" and run.checkpoints() == {}
    again = train_tiny(tiny_folder, "--data", path, "--set", "data.exclude=[7]", "--stage", "autoencoder", name="other")
    assert again.done.code == 0 and path.read_bytes() == before


def test_a_folder_that_holds_something_is_no_place_for_a_run(copied):
    (copied.terminal.folder / "mine").mkdir()
    (copied.terminal.folder / "mine/thesis.tex").write_text("x")
    done = copied.terminal.run(*TRAIN, "--run-dir", "mine")
    assert done.code == 1 and "mine is not an empty folder" in done.err
    assert [path.name for path in (copied.terminal.folder / "mine").iterdir()] == ["thesis.tex"]
    before = copied.files()
    done = copied.terminal.run(*TRAIN, "--run-dir", copied.path)
    assert done.code == 1 and "already holds a run" in done.err and f"--resume {copied.path}" in done.err
    assert copied.files() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves_with_3_and_the_run_goes_on_later(training, number):
    run, command = training
    command.send(number)
    done = command.wait()
    assert done.code == 3 and done.out == ""
    assert done.err.splitlines()[-1] == f"stopped and saved; go on with: ups train --resume {run.path}"
    assert run.show()["state"] == "stopped" and run.show()["lease"] is None
    assert [path.name for path in (run.path / "checkpoints/resume").iterdir()] == ["000001"]
    at = run.events()[-2]
    assert at["kind"] == "checkpoint" and at["data"] == {"resume": 1}
    settings = run.path / "settings.toml"
    settings.write_text(settings.read_text().replace("epochs = 100000", f"epochs = {at['epoch'] + 2}"))
    run.directory.vouch(settings)
    done = run.resume("--stage", "autoencoder")
    assert done.code == 0
    assert f"autoencoder: {at['epoch'] + 2} epochs, going on in epoch {at['epoch'] + 1} after step" in done.err


def test_a_run_that_is_stopped_ends_with_the_bits_of_one_that_was_not(tiny_folder, finished):
    run = TinyRun(tiny_folder, tiny_folder.folder / "run", None)
    stops = 0
    command = tiny_folder.start(*TRAIN, "--run-dir", run.path)
    for stage in ("operator", "consistency_distill"):
        started = lambda: any((e["kind"], e["stage"]) == ("stage_started", stage) for e in run.events())  # noqa: B023, E731
        wait_until(started, command, f"the start of {stage}")
        command.send(signal.SIGTERM)
        stops += command.wait().code == 3
        command = tiny_folder.start("train", "--headless", "--resume", run.path)
    assert command.wait().code == 0 and stops == 2
    assert run.checkpoints() == finished.checkpoints()


def test_a_signal_while_data_is_made_leaves_no_half_of_it(tiny_folder):
    many = ("--set", "data.generate.trajectories=20000", "--set", "data.generate.points=512")
    command = tiny_folder.start(*TRAIN, *many, "--run-dir", "run")
    folder = tiny_folder.folder / "data/generated"
    wait_until(lambda: folder.exists() and any(folder.iterdir()), command, "data")
    command.send(signal.SIGTERM)
    done = command.wait(20)
    assert done.code == 3 and "stopped and saved" in done.err
    assert not any(folder.iterdir())


def test_a_second_interrupt_leaves_at_once_with_130_and_the_run_can_be_resumed(tiny_folder):
    slow = ("--set", "stages.autoencoder.batch_size=1", "--set", "stages.autoencoder.accum_steps=100000")
    slow += ("--set", "stages.autoencoder.frames_per_trajectory=10000")
    run = TinyRun(tiny_folder, tiny_folder.folder / "run", None)
    command = tiny_folder.start(*TRAIN, *slow, "--run-dir", run.path)
    begun = lambda: any(e["kind"] == "stage_started" for e in read_events(run.path / "events.jsonl"))  # noqa: E731
    wait_until(begun, command, "the start of a stage")
    time.sleep(0.5)  # into the first step, of 80,000 batches
    command.send(signal.SIGINT)
    time.sleep(0.1)
    command.send(signal.SIGINT)
    done = command.wait(30)
    assert done.code == 130, done.err
    assert "left at once, without saving; from the last saved state go on with: ups train --resume" in done.err
    assert "Traceback" not in done.err and done.err.splitlines()[-1] == "error: interrupted"
    assert run.show()["state"] == "stopped"


def test_a_run_that_is_trained_is_not_taken_over(training):
    run, command = training
    before = {name: digest for name, digest in run.files().items() if name != "events.jsonl"}
    done = run.resume()
    assert done.code == 1 and done.out == ""
    assert f"run {run.path.name} is owned by a live process: pid {command.pid}" in done.err
    assert command.running
    assert before == {name: digest for name, digest in run.files().items() if name in before}


def test_an_unknown_run_is_answered_with_the_nearest(tiny_folder):
    run = train_tiny(tiny_folder, "--stage", "autoencoder", name="runs/first")
    assert run.done.code == 0
    done = tiny_folder.run("train", "--headless", "--resume", "frist")
    assert done.code == 1 and "there is no run frist" in done.err and "nearest: first" in done.err
    assert tiny_folder.run("train", "--headless", "--resume", "first").code == 0


def test_a_preset_and_a_file_of_the_user_s_own_go_together(tiny_folder):
    path = tiny_folder.folder / "own.hdf5"
    pdebench(path)
    before = path.read_bytes()
    run = train_tiny(tiny_folder, "--data", "own.hdf5")
    assert run.done.code == 0 and "data own.hdf5: u on 32 points, 6 frames, dt 1" in run.done.err
    assert json.loads((run.path / "origins.json").read_text())["data.path"] == "--set"
    assert path.read_bytes() == before and run.stage_states() == dict.fromkeys(STAGES, "done")


def test_on_a_terminal_steps_share_one_line(tiny_folder):
    main, end = pty.openpty()
    terminal = Terminal(tiny_folder.folder, {"COLUMNS": "60", "TERM": "screen", "NO_COLOR": "1"})
    command = terminal.start(*TRAIN[:1], *TRAIN[2:], "--stage", "autoencoder", err=Path(os.ttyname(end)))
    shown = b""
    while command.running or select.select([main], [], [], 0)[0]:
        if select.select([main], [], [], 0.05)[0]:
            shown += os.read(main, 4096)
    os.close(main)
    os.close(end)
    assert command.wait().code == 0
    text = shown.decode()
    assert re.search(r"\rautoencoder [12]/2 .* %", text)
    assert re.search(r"\d autoencoder: done in", text)
    drawn = [part for part in re.split(r"[\r\n]|\x1b\[K", text) if part.startswith("autoencoder ")]
    assert drawn and all(len(part) < 60 for part in drawn)
