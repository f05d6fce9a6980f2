"""`ups runs pause|resume|skip|finish|start|park|stop|remove` and detached runs, as a user at a prompt meets them."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tiny_run import TRAIN, TinyRun, read_events, wait_until

from ups_engine.runs.owner import start_time

LONG = ("--set", "stages.autoencoder.epochs=100000")
"""A first stage that ends only when it is told to."""


class Live:
    """A run that trains, and what tells it something."""

    def __init__(self, run, command=None):
        self.run, self.command = run, command

    def tell(self, *arguments):
        """Tell it by name and wait; gives the answer."""
        done = self.run.terminal.run("runs", arguments[0], self.run.path, *arguments[1:], "--timeout", 60, "--json")
        return json.loads(done.out), done.code

    def kinds(self, kind):
        return [event for event in read_events(self.run.path / "events.jsonl") if event["kind"] == kind]

    @property
    def state(self):
        return self.run.show()["state"]

    @property
    def pid(self):
        return self.run.directory.record.owner.pid


def until(condition, what, timeout=60.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"no {what} in {timeout} s"
        time.sleep(0.01)


def steps(live):
    return live.kinds("step") or live.kinds("epoch")


@pytest.fixture
def live(tiny_folder):
    """A run in the middle of its first stage."""
    run = TinyRun(tiny_folder, tiny_folder.folder / "runs/live", None)
    command = tiny_folder.start(*TRAIN, *LONG, "--run-dir", run.path)
    live = Live(run, command)
    wait_until(lambda: steps(live), command, "a step")
    yield live
    if command.running:
        command.send(signal.SIGKILL)
        command.wait()


@pytest.fixture
def detached(tiny_folder):
    """Starts `ups train --detach`; what it started ends with the test."""
    pids = []

    def start(*arguments):
        done = tiny_folder.run("train", "--detach", "--json", *arguments)
        assert done.code == 0, done.err
        told = json.loads(done.out)
        pids.append(told["pid"])
        return told

    yield start
    for pid in pids:
        if pid is not None and start_time(pid) is not None:
            os.kill(pid, signal.SIGKILL)
            until(lambda: start_time(pid) is None, "end")  # noqa: B023


def test_pause_and_resume_are_answered_and_the_run_goes_on(live):
    answer, code = live.tell("pause")
    assert code == 0 and set(answer) == {"run", "command", "stage", "id", "outcome", "reason"}
    assert (answer["run"], answer["command"], answer["outcome"], answer["reason"]) == ("live", "pause", "done", None)
    until(lambda: live.state == "paused", "pause")
    assert live.kinds("command")[-1]["data"]["id"] == answer["id"]
    again, code = live.tell("pause")
    assert code == 1 and again["outcome"] == "refused" and "paused already" in again["reason"]
    seen = len(live.kinds("epoch"))
    assert live.tell("resume")[0]["outcome"] == "done"
    until(lambda: len(live.kinds("epoch")) > seen and live.state == "running", "training")


def test_a_command_that_is_not_waited_for_says_that_it_was_sent(live):
    done = live.run.terminal.run("runs", "pause", "live", "--json")
    assert done.code == 0 and json.loads(done.out)["outcome"] == "sent" and json.loads(done.out)["id"]
    until(lambda: live.state == "paused", "pause")
    done = live.run.terminal.run("runs", "resume", "live")
    assert (done.code, done.out) == (0, "") and done.err == "live: resume: sent, to be obeyed at its next step\n"
    until(lambda: live.state == "running", "training")


def test_stages_are_finished_skipped_and_started_by_command(live):
    assert live.tell("skip", "--stage", "steady_prior")[0]["outcome"] == "done"
    done = live.run.terminal.run("runs", "skip", "live", "--stage", "operator", "--wait")
    assert done.code == 1 and done.out == "" and done.err.startswith("error: live: skip stage operator: refused, ")
    assert "ups runs show live" in done.err.splitlines()[1]
    assert live.tell("start", "--stage", "steady_prior")[0]["outcome"] == "done"
    answer, code = live.tell("finish")
    assert (answer["outcome"], code) == ("done", 0)
    done = live.command.wait()
    assert done.code == 0 and "asked to finish stage autoencoder: done" in done.err
    assert live.run.stage_states()["steady_prior"] == "done" and live.run.stage_states()["autoencoder"] == "done"


@pytest.mark.parametrize(("word", "outcome"), [("park", "parked"), ("stop", "stopped")])
def test_waiting_for_a_run_to_leave_ends_when_it_has_left(live, word, outcome):
    answer, code = live.tell(word)
    assert (answer["outcome"], code) == ("done", 0)
    assert live.run.directory.record.owner is None and live.state == outcome
    done = live.command.wait()
    assert done.code == 3 and f"{outcome} and saved; go on with: ups train --resume live" in done.err
    refused = live.run.terminal.run("runs", "pause", "live")
    assert refused.code == 1 and f"the run is {outcome}, so no process would obey" in refused.err
    answer, code = live.tell("skip", "--stage", "steady_prior")
    assert (code, answer["outcome"]) == (0, "sent") and f"the run is {outcome} and will answer when" in answer["reason"]


def test_a_run_that_does_not_answer_in_time_is_an_error_that_says_what_becomes_of_the_command(live):
    live.command.send(signal.SIGSTOP)
    done = live.run.terminal.run("runs", "park", "live", "--timeout", "0.2")
    live.command.send(signal.SIGCONT)
    assert done.code == 1 and "has not answered in 0.2 s" in done.err and len(done.err.splitlines()) == 2
    assert live.command.wait().code == 3


def test_a_stage_that_is_none_is_told_with_those_there_are(live):
    done = live.run.terminal.run("runs", "skip", "live", "--stage", "operatr")
    assert done.code == 2 and "there is no stage 'operatr'" in done.err and "operator" in done.err
    done = live.run.terminal.run("runs", "resume", "live", "--stage", "operator")
    assert done.code == 2 and "ups runs start live --stage operator" in done.err
    assert not (live.run.path / "commands").joinpath("done").exists()


def test_a_detached_run_is_answered_as_soon_as_it_is_told_and_goes_on_after_parking(tiny_folder, detached):
    told = detached(*TRAIN[2:], *LONG, "--run-dir", "runs/far")
    path = tiny_folder.folder / "runs/far"
    assert told == {"run": "far", "directory": str(path), "pid": told["pid"]}
    live = Live(TinyRun(tiny_folder, path, None))
    assert live.pid == told["pid"] != os.getpid() and os.getsid(told["pid"]) == told["pid"]
    second = tiny_folder.run("train", "--detach", "--resume", "far")
    assert second.code == 1 and f"owned by a live process: pid {told['pid']}" in second.err
    until(lambda: steps(live), "a step")
    assert live.tell("park")[0]["outcome"] == "done"
    done = tiny_folder.run("runs", "resume", "far", "--json")
    resumed = json.loads(done.out)
    try:
        assert done.code == 0 and resumed.pop("pid") == live.pid != told["pid"]
        assert resumed == {
            "run": "far",
            "command": "resume",
            "stage": None,
            "id": None,
            "outcome": "started",
            "reason": None,
        }
        until(lambda: len(live.kinds("stage_started")) == 2, "training")
        assert live.tell("stop")[0]["outcome"] == "done" and live.state == "stopped"
    finally:
        if owner := live.run.directory.record.owner:
            os.kill(owner.pid, signal.SIGKILL)
    log = (path / "log.txt").read_text()
    assert "\r" not in log and "\033" not in log and "asked to park: done" in log
    assert log.index("parked and saved") < log.index("going on in epoch") < log.index("stopped and saved")


def test_what_cannot_come_to_its_end_is_refused_before_anything_is_launched(tiny_folder):
    for arguments, code in (
        (("--data", "nothing.h5"), 1),
        (("--stage", "operator"), 2),
        (("--set", "training.batch_siz=8"), 2),
        (("--headless",), 2),
        (("--json-events",), 2),
    ):
        done = tiny_folder.run("train", "--detach", "--json", *TRAIN[2:], *arguments)
        assert (done.code, done.out) == (code, "") and done.err.startswith("error: "), arguments
    assert not (tiny_folder.folder / "runs").exists()


def test_a_detached_run_that_fails_at_once_is_an_error_in_its_own_words(copied):
    assert copied.terminal.run("runs", "resume", copied.path).code == 1
    settings = copied.path / "settings.toml"
    settings.write_text(settings.read_text().replace("seed = 0", "sed = 0", 1))
    copied.directory.vouch(settings)
    done = copied.terminal.run("train", "--detach", "--json", "--resume", copied.path, "--stage", "operator")
    assert (done.code, done.out) == (2, "") and "settings.toml" in done.err and "sed" in done.err


def test_a_finished_run_is_resumed_by_naming_a_stage(copied):
    done = copied.terminal.run("runs", "resume", copied.path, "--json")
    assert done.code == 1 and json.loads(done.out)["outcome"] == "refused" and "finished" in done.out
    for word in ("pause", "park", "stop", "finish", "resume"):
        done = copied.terminal.run("runs", word, copied.path)
        assert done.code == 1 and "the run is finished" in done.err and "ups runs" in done.err.splitlines()[1]
    done = copied.terminal.run("runs", "resume", copied.path, "--stage", "evaluation", "--json")
    assert done.code == 0 and json.loads(done.out)["outcome"] == "started"
    pid = json.loads(done.out)["pid"]
    until(lambda: pid is None or start_time(pid) is None, "end")
    assert copied.show()["state"] == "finished" and "evaluation: done" in copied.directory.log.read_text()


def test_an_interrupt_while_a_run_is_launched_says_that_it_goes_on(tiny_folder):
    path = tiny_folder.folder / "runs/far"
    command = tiny_folder.start("train", "--detach", *TRAIN[2:], *LONG, "--run-dir", path)
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    wait_until(lambda: (path / "log.txt").exists() and children.read_text(), command, "launch")
    command.send(signal.SIGINT)
    done = command.wait()
    live = Live(TinyRun(tiny_folder, path, None))
    until(lambda: live.run.directory.record.owner, "owner")
    assert live.tell("stop")[0]["outcome"] == "done"
    assert done.code == 130 and f"goes on; end it with: ups runs stop {path}" in done.err


def test_remove_asks_with_the_size_and_removes_the_run_alone(copied):
    run = copied.terminal.run("runs", "remove", copied.path)  # stdin is empty: that is no yes
    assert run.code == 1 and "KiB? [y/N]" in run.err and run.err.endswith("nothing was removed\n")
    assert copied.show()["state"] == "finished"
    others = sorted(path.name for path in copied.terminal.folder.iterdir() if path != copied.path)
    done = copied.terminal.run("runs", "remove", copied.path, "--yes")
    assert (done.code, done.out) == (0, "") and done.err.startswith(f"removed run {copied.path.name}, ")
    assert sorted(path.name for path in copied.terminal.folder.iterdir() if path.name[0] != ".") == [
        name for name in others if name[0] != "."
    ]
    assert copied.terminal.run("runs", "remove", copied.path, "--yes").code == 1


def test_remove_refuses_a_live_run(live):
    done = live.run.terminal.run("runs", "remove", "live", "--yes")
    assert done.code == 1 and "owned by a live process" in done.err and "ups runs stop live" in done.err
    assert live.command.running and live.state == "running"


def test_json_events_are_the_lines_of_the_file_and_nothing_else_is_on_stdout(tiny_folder):
    run = tiny_folder.folder / "run"
    done = tiny_folder.run(*TRAIN, "--stage", "autoencoder", "--json-events", "--run-dir", run)
    assert done.code == 0 and done.out == (run / "events.jsonl").read_text()
    before = done.out
    done = tiny_folder.run(
        "train", "--json-events", "--quiet", "--resume", run, "--stage", "autoencoder", "--stage", "operator"
    )
    assert done.code == 0 and before + done.out == (run / "events.jsonl").read_text()
    assert json.loads(done.out.splitlines()[0])["kind"] == "run_resumed"


def test_quiet_prints_the_evaluation_and_where_it_is(tiny_folder):
    done = tiny_folder.run(*TRAIN, "--quiet", "--run-dir", "run")
    assert done.code == 0 and done.out.startswith("test split: ")
    said = [line for line in done.err.splitlines() if " warning: " not in line]
    assert said == [f"report: {tiny_folder.folder / 'run/reports/evaluation.json'}"]


def test_a_dry_run_makes_nothing_and_its_exit_code_says_whether_the_run_would_end_well(tiny_folder):
    before = sorted(tiny_folder.folder.rglob("*"))
    done = tiny_folder.run("train", "--dry-run", "--json", *TRAIN[2:])
    assert done.code == 0 and json.loads(done.out)["ready"] is True
    done = tiny_folder.run("train", "--dry-run", "--json", *TRAIN[2:], "--data", "nothing.h5")
    assert done.code == 1 and json.loads(done.out)["ready"] is False
    names = lambda paths: [path.name for path in paths if not path.name.startswith(".")]  # noqa: E731
    assert names(sorted(tiny_folder.folder.rglob("*"))) == names(before)
