"""`ups runs list|show|log`, run as a user runs them."""

import json
import os
import subprocess
import sys
import time

import pytest
from terminal import Terminal

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.events import EventWriter
from ups_engine.runs.lease import Lease


@pytest.fixture
def ups(tmp_path):
    terminal = Terminal(tmp_path)
    return lambda *arguments: terminal.run("runs", *arguments)


def make(tmp_path, name):
    return RunDirectory.create(
        tmp_path / "runs", name, settings_toml="", origins={}, argv=["ups", "train"], task="burgers1d"
    )


@pytest.fixture
def parked(tmp_path):
    run = make(tmp_path, "parked")
    with EventWriter(run.events) as writer:
        plan = [{"name": "autoencoder", "epochs": 2}, {"name": "operator", "epochs": 4}]
        writer.emit("run_started", data={"stages": plan})
        writer.emit("stage_started", stage="autoencoder", data={"epochs": 2})
        writer.emit("epoch", stage="autoencoder", epoch=1, step=20, data={"loss": 0.25, "best": 0.125})
        writer.emit("stage_finished", stage="autoencoder", data={"best": 0.125, "seconds": 3.0})
        writer.emit("stage_started", stage="operator", data={"epochs": 4})
        writer.emit("step", stage="operator", epoch=0, step=1, data={"loss": 1.0})
        writer.emit("heartbeat", data={"ram_bytes": 1})
        writer.emit("epoch", stage="operator", epoch=0, step=10, data={"loss": 1.0, "best": float("nan")})
        writer.emit("run_finished", data={"outcome": "parked"})
    return run


def test_show_json_is_the_contract(ups, parked):
    done = ups("show", "parked", "--json")
    assert done.code == 0 and done.err == ""
    value = json.loads(done.out)
    assert [stage.pop("seconds") >= 0 for stage in value["stages"]] == [True, True]
    assert value == {
        "run": "parked",
        "directory": str(parked.path),
        "state": "parked",
        "stage": "operator",
        "stages": [
            {"name": "autoencoder", "state": "done", "epoch": 2, "epochs": 2, "best": 0.125},
            {"name": "operator", "state": "waiting", "epoch": 1, "epochs": 4, "best": None},
        ],
        "last_event_seq": 9,
        "lease": None,
    }
    assert ups("show", parked.path, "--json").out == done.out


def test_show_tells_how_far_the_run_is_and_how_to_go_on(ups, parked):
    lines = ups("show", "parked").out.splitlines()
    assert any(line.split() == ["state", "parked"] for line in lines)
    assert any("ups runs resume parked" in line for line in lines)
    assert any(line.split()[:4] == ["autoencoder", "done", "2/2", "0.125"] for line in lines)
    assert any(line.split()[:4] == ["operator", "waiting", "1/4", "-"] for line in lines)


def test_show_names_the_owner_of_a_live_run(ups, tmp_path):
    run = make(tmp_path, "live")
    with Lease.acquire(run):
        value = json.loads(ups("show", "live", "--json").out)
        assert value["lease"]["pid"] == os.getpid() and value["lease"]["alive"] is True
        assert value["state"] == "waiting"
        assert f"pid {os.getpid()} on {os.uname().nodename}" in ups("show", "live").out
    assert json.loads(ups("show", "live", "--json").out)["lease"] is None


def test_show_says_why_a_run_failed(ups, tmp_path):
    run = make(tmp_path, "bad")
    with EventWriter(run.events) as writer:
        writer.emit("run_failed", data={"error": "the loss is nan", "hint": "lower the learning rate"})
    shown = ups("show", "bad").out
    assert "the loss is nan" in shown and "lower the learning rate" in shown


def test_list_shows_all_runs_newest_first(ups, tmp_path, parked):
    time.sleep(0.01)
    make(tmp_path, "later")
    lines = ups("list").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["run", "state"], ["later", "waiting"], ["parked", "parked"]]
    value = json.loads(ups("list", "--json").out)
    assert value["root"] == str(tmp_path / "runs")
    assert [run["run"] for run in value["runs"]] == ["later", "parked"]
    assert value["runs"][1] == json.loads(ups("show", "parked", "--json").out)


def test_list_of_nothing_says_how_to_start(ups):
    done = ups("list")
    assert (done.code, done.out) == (0, "") and "ups train" in done.err
    assert json.loads(ups("list", "--json").out)["runs"] == []


def test_a_damaged_run_does_not_hide_the_others(ups, tmp_path, parked):
    (make(tmp_path, "torn").path / "run.json").write_text("{")
    done = ups("list", "--json")
    assert [run["run"] for run in json.loads(done.out)["runs"]] == ["parked"]
    assert "torn/run.json" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("command", ["show", "log"])
def test_a_run_that_is_not_there_is_one_error_with_the_nearest(ups, parked, command):
    done = ups(command, "packed")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == ["error: there is no run packed", "  nearest: parked"]


def test_log_prints_the_events_of_a_run_that_has_no_log_file(ups, parked):
    lines = ups("log", "parked").out.splitlines()
    assert len(lines) == 7  # neither the step nor the heartbeat
    assert "stage_finished  autoencoder  best=0.125 seconds=3" in lines[3]
    assert "epoch           operator epoch 0 step 10  loss=1 best=null" in lines[5]
    assert len(ups("log", "parked", "-n", "2").out.splitlines()) == 2


def test_log_prints_the_end_of_the_log_file(ups, parked):
    parked.log.write_bytes("".join(f"line {i}\n" for i in range(100_000)).encode() + b"\xff last")
    assert ups("log", "parked", "--lines", "2").out == "line 99999\n\ufffd last\n"
    assert "run_started" in ups("log", "parked", "--events").out


def test_log_json_holds_lines_and_events(ups, parked):
    parked.log.write_text("one\ntwo\n")
    value = json.loads(ups("log", "parked", "--json", "-n", "1").out)
    assert (value["run"], value["directory"], value["log"]) == ("parked", str(parked.path), ["two"])
    (event,) = value["events"]
    assert list(event) == ["seq", "time", "kind", "stage", "epoch", "step", "data"]
    assert (event["seq"], event["kind"], event["data"]) == (9, "run_finished", {"outcome": "parked"})


@pytest.mark.parametrize("arguments", [["list"], ["pause", "parked"], ["remove", "parked", "--yes"]])
def test_runs_are_listed_told_and_removed_without_torch(parked, arguments):
    code = (
        f"import sys\nfrom ups_app.cli.main import main\n"
        f"try: main(['runs', *{arguments}])\n"
        f"finally: print([m for m in ('torch', 'numpy', 'h5py', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=parked.path.parent.parent)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    assert parked.path.exists() == (arguments[0] != "remove")
