import json
import shutil
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.events import KINDS, EventWriter
from ups_engine.runs.lease import Lease
from ups_engine.runs.watch import RunsWatcher, Watcher

PLAN = {"stages": [{"name": "autoencoder", "epochs": 2}, {"name": "operator", "epochs": 3}]}


def line(seq, kind, stage=None, epoch=None, step=None, data=None, when=None):
    value = {"seq": seq, "time": 1e9 + seq if when is None else when, "kind": kind}
    return json.dumps(value | {"stage": stage, "epoch": epoch, "step": step, "data": data or {}}, separators=(",", ":"))


def plain(view):
    """What is to be equal in two views."""

    def points(curve):
        return curve.steps.tolist(), curve.values.tolist()

    curves = {
        name: (
            [points(c) for c in (of.loss, of.validation, of.lr, of.grad_norm, of.throughput)],
            {part: points(c) for part, c in of.components.items()},
        )
        for name, of in view.curves.items()
    }
    state = replace(view.state, silence=None, created=0.0)
    rest = (view.eta, view.warnings, view.recent, view.evaluation, view.vitals)
    return state, curves, rest, view.last_step


def long_ago():
    """The time at which the histories below were told."""
    return 1e9


def read_at_once(run):
    watcher = Watcher(run, clock=long_ago)
    watcher.poll()
    assert watcher.problem is None
    return watcher.view


@pytest.fixture
def writer(run):
    with Lease.acquire(run), EventWriter(run.events) as writer:
        yield writer


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return RunDirectory.create(root, "one", settings_toml="", origins={}, argv=["ups"], task="burgers1d")


STORY = st.lists(
    st.tuples(
        st.sampled_from(sorted(KINDS)) | st.just("step"),
        st.sampled_from(["autoencoder", "operator"]),
        st.integers(0, 3),
        st.integers(0, 40),
    ),
    max_size=40,
)


def told(story, first=1):
    text = ""
    for seq, (kind, stage, epoch, step) in enumerate(story, first):
        data = {"loss": step / 7, "score": 0.5, "best": 0.5, "components": {"a": 0.1}, "epoch_seconds": epoch + 1.0}
        data |= {"stages": PLAN["stages"], "stage": stage, "epoch": epoch, "step": step, "message": "é"}
        text += line(seq, kind, stage, epoch, step, data) + "\n"
    return text.encode()


@settings(max_examples=60, deadline=None)
@given(STORY, st.lists(st.integers(1, 900), max_size=12))
def test_a_history_cut_anywhere_gives_in_the_end_what_it_gives_at_once(shared, story, pieces):
    whole, at = told(story), 0
    shared.events.unlink(missing_ok=True)
    watcher = Watcher(shared, clock=long_ago)
    versions = []
    for piece in [*pieces, len(whole)]:
        at += piece
        shared.events.write_bytes(whole[:at])
        watcher.poll()
        assert watcher.problem is None
        versions.append(watcher.view.version)
    assert versions == sorted(versions)
    assert plain(watcher.view) == plain(read_at_once(shared))


@settings(max_examples=40, deadline=None)
@given(STORY, STORY, st.integers(0, 4000))
def test_a_history_that_lost_its_end_and_grew_another_is_read_anew(shared, first, second, left):
    """As when a machine loses power: lines that had been read are gone, and others take their place."""
    whole = told(first)
    shared.events.write_bytes(whole)
    watcher = Watcher(shared, clock=long_ago)
    watcher.poll()
    before = watcher.view.version
    kept = whole[: whole.rfind(b"\n", 0, left) + 1]
    shared.events.write_bytes(kept + told(second, first=kept.count(b"\n") + 1000))
    watcher.poll()
    assert plain(watcher.view) == plain(read_at_once(shared))
    assert watcher.view.version >= before


def test_the_thread_hands_over_the_latest(run, writer, until):
    with closing(Watcher(run, interval=0.005).start()) as watcher:
        view = until(lambda: watcher.view)
        assert view.state.state == "waiting" and view.version == 1
        writer.emit("run_started", data=PLAN)
        writer.emit("stage_started", stage="operator", epoch=0, step=0, data={"epochs": 3})
        writer.emit("step", stage="operator", epoch=0, step=7, data={"loss": 0.5, "epoch_steps": 10})
        writer.emit("heartbeat", data={"ram_bytes": 5})
        view = until(lambda: (v := watcher.view) and v.vitals and v)
        assert (view.state.state, view.state.stage, view.last_step.step) == ("running", "operator", 7)
        assert view.curves["operator"].loss.values.tolist() == [0.5]
        writer.emit("command", data={"id": "x", "command": "pause", "outcome": "done"})
        assert until(lambda: watcher.view.recent[-1].data.get("id")) == "x"
    assert not [thread for thread in threading.enumerate() if thread.name == "watching one"]
    watcher.close()


def test_a_version_grows_with_what_changes_and_silence_alone_is_no_change(run, writer):
    writer.emit("run_started", data=PLAN)
    watcher = Watcher(run)
    watcher.poll()
    first = watcher.view
    watcher.poll()
    assert watcher.view.version == first.version and watcher.view.state.silence > first.state.silence
    assert watcher.view.curves is first.curves
    writer.emit("heartbeat")
    watcher.poll()
    assert watcher.view.version == first.version + 1


def test_a_history_rewritten_under_the_same_numbers_is_a_change(run):
    watcher = Watcher(run, clock=long_ago)
    for version, message in enumerate(("before", "after"), 1):
        run.events.write_text(line(1, "warning", data={"message": message}) + "\n")
        watcher.poll()
        assert (watcher.view.version, watcher.view.warnings[0].data["message"]) == (version, message)
        assert len(watcher.view.recent) == 1


def test_the_end_of_a_process_is_a_change_although_nothing_is_written(run):
    with Lease.acquire(run), EventWriter(run.events) as writer:
        writer.emit("run_started", data=PLAN)
        watcher = Watcher(run)
        watcher.poll()
        before = watcher.view
        size = run.events.stat().st_size
    watcher.poll()
    assert run.events.stat().st_size == size
    assert before.state.lease.alive and watcher.view.state.lease is None
    assert watcher.view.version == before.version + 1


def test_a_folder_that_is_gone_is_a_problem_until_it_is_back(run, writer, until):
    writer.emit("run_started", data=PLAN)
    with closing(Watcher(run, interval=0.005).start()) as watcher:
        view = until(lambda: watcher.view)
        assert watcher.problem is None
        elsewhere = run.path.with_name("elsewhere")
        run.path.rename(elsewhere)
        assert until(lambda: watcher.problem) == f"the run's folder is gone: {run.path}"
        assert plain(watcher.view) == plain(view)
        elsewhere.rename(run.path)
        until(lambda: watcher.problem is None)
        assert watcher.view.state.last_event_seq == 1
        (run.path / "run.json").rename(run.path / "away.json")
        assert "run.json" in until(lambda: watcher.problem)
        (run.path / "away.json").rename(run.path / "run.json")
        until(lambda: watcher.problem is None)


def test_another_run_in_the_same_folder_is_seen_as_what_it_is(run, make_run):
    with EventWriter(run.events) as writer:
        writer.emit("run_started", data=PLAN)
        writer.emit("warning", data={"message": "of the old run"})
    watcher = Watcher(run)
    watcher.poll()
    shutil.rmtree(run.path)
    make_run("one")
    watcher.poll()
    assert (watcher.view.state.state, watcher.view.state.stages, watcher.view.warnings) == ("waiting", (), ())


def test_watching_leaves_no_trace_in_the_run(run, writer):
    writer.emit("run_started", data=PLAN)

    def traces():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [run.path, *run.path.rglob("*")]}

    before = traces()
    for watcher in (Watcher(run), RunsWatcher(run.path.parent)):
        watcher.poll()
        watcher.poll()
    assert traces() == before


def test_the_clock_of_a_recorded_run_can_be_held(run):
    run.events.write_text(line(1, "run_started", data=PLAN, when=5000.0) + "\n")
    for now, state in ((5010.0, "running"), (5020.0, "lost")):
        watcher = Watcher(run, clock=lambda now=now: now)
        watcher.poll()
        assert (watcher.view.state.state, round(watcher.view.state.silence)) == (state, now - 5000)


@pytest.fixture
def long_history(run):
    """Twenty megabytes: 90 epochs of 1,000 steps."""
    with run.events.open("w") as file:
        file.write(line(1, "run_started", data=PLAN) + "\n" + line(2, "stage_started", "operator", 0, 0) + "\n")
        seq = 2
        for epoch in range(90):
            for step in range(epoch * 1000 + 1, epoch * 1000 + 1001):
                seq += 1
                data = {"loss": 1 / step, "lr": 1e-3, "grad_norm": 0.5, "components": {"a": 1 / step, "b": 2.0}}
                file.write(line(seq, "step", "operator", epoch, step, data) + "\n")
                if step % 20 == 0:
                    seq += 1
                    file.write(line(seq, "heartbeat", data={"ram_bytes": seq}) + "\n")
            file.write(line(seq + 1, "validation", "operator", epoch, step, {"score": 1 / step}) + "\n")
            file.write(line(seq + 2, "epoch", "operator", epoch, step, {"loss": 0.5, "epoch_seconds": 9.0}) + "\n")
            seq += 2
    return seq


def test_a_long_history_opens_at_once_and_is_followed_for_next_to_nothing(run, long_history):
    assert run.events.stat().st_size > 15e6
    watcher = Watcher(run)
    began = time.process_time()
    watcher.poll()
    assert time.process_time() - began < 2.0  # 0.3 s on one core
    view = watcher.view
    curves = view.curves["operator"]
    assert view.state.last_event_seq == long_history and view.vitals == {"ram_bytes": long_history - 2}
    assert view.last_step.step == 90_000 and view.recent[-1].epoch == 89  # what comes once is never passed over
    assert curves.validation.steps.tolist() == list(range(1000, 90_001, 1000))
    for curve in (curves.loss, curves.lr, curves.components["b"]):
        assert 350 <= len(curve.steps) <= 1025 and curve.steps[0] < 300 and curve.steps[-1] == 90_000
        assert np.diff(curve.steps).max() < 600
    assert (curves.loss.values == 1 / curves.loss.steps).mean() > 0.95  # but for ends of epochs without a step

    with run.events.open("a") as file:
        polls, began = 0, time.process_time()
        for step in range(90_001, 90_151, 3):  # three steps a look, as a fast run has them
            for number in range(step, step + 3):
                text = line(long_history + number, "step", "operator", 90, number, {"loss": 0.25, "lr": 1e-3})
                file.write(text + "\n")
            file.flush()
            watcher.poll()
            polls += 1
        share = (time.process_time() - began) / polls / 0.25
    assert watcher.view.version == view.version + polls
    assert watcher.view.last_step.step == 90_150
    assert share < 0.02  # of a core; 0.003, the writing included


def test_what_is_known_is_not_read_again(run, long_history):
    watcher = Watcher(run)
    watcher.poll()
    before = psutil.Process().io_counters().read_chars
    watcher.poll()
    assert psutil.Process().io_counters().read_chars - before < 1 << 16
