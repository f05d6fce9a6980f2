"""Every file of a run states its version: one without is of the first, and one of a newer UPS is refused with both."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from ups_engine.formats import FormatError
from ups_engine.runs.checkpoints import load_result, save_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import EventReader, recent_events
from ups_engine.runs.events import EventWriter
from ups_engine.runs.history import History
from ups_engine.runs.resume import ResumeStore
from ups_engine.runs.sidecars import list_results, read_sidecar
from ups_engine.runs.state import StateReader, summarise
from ups_engine.runs.watch import Damaged, RunsWatcher

RECORDED = Path(__file__).parent.parent / "recorded"
BOTH = r"version 2; this UPS reads up to version 1"
LATER = r"version 3; this UPS reads up to version 2"
LATEST = r"version 4; this UPS reads up to version 3"
TENSORS = {"a": torch.arange(3.0)}


def set_format(path, version):
    value = json.loads(path.read_text())
    assert value.pop("format") in (1, 2, 3)
    value.pop("seal", None)  # which sidecars have since the third
    path.write_text(json.dumps(value if version is None else {**value, "format": version}))


def tell(run, kind="run_started"):
    with EventWriter(run.events) as writer:
        writer.emit(kind, data={"stages": [{"name": "operator", "epochs": 2}]})


def newer_history(run):
    tell(run)
    run.events.write_text(run.events.read_text().replace('"format":1', '"format":2'))


@pytest.mark.parametrize("name", ["finished", "h200", "format1/finished", "format1/parked"])
def test_runs_from_before_versions_are_of_the_first(name):
    run = RunDirectory(RECORDED / name)
    assert "format" not in json.loads((run.path / "run.json").read_text())
    state = summarise(run)
    assert state.last_event_seq > 0 and state.planned


def test_a_parked_run_from_before_versions_has_its_results_and_its_resumable_state(tmp_path):
    shutil.copytree(RECORDED / "format1/parked", tmp_path / "parked")
    run = RunDirectory(tmp_path / "parked")
    assert list_results(run) == ["decoder", "encoder"]
    sidecar = load_result(run, "encoder")[1]
    assert "format" not in sidecar and read_sidecar(run, "encoder")["sha256"] == sidecar["sha256"]
    assert ResumeStore(run.resume).load() is not None


def test_a_record(run):
    set_format(run.path / "run.json", None)
    assert run.record.owner is None
    (run.path / "run.json").write_text(json.dumps({**json.loads((run.path / "run.json").read_text()), "format": 3}))
    with pytest.raises(FormatError, match=LATER):
        summarise(run)
    with pytest.raises(FormatError, match=LATER):
        run.write_owner(None)


@pytest.mark.parametrize("kind", ["run_started", "run_resumed"])
def test_a_history_states_its_version_whenever_a_process_begins(run, kind):
    tell(run, kind)
    assert next(EventReader(run.events).events()).data["format"] == 1


def test_a_newer_history_is_refused_by_every_reader_and_at_every_look_until_it_is_another(run):
    newer_history(run)
    with pytest.raises(FormatError, match=BOTH):
        list(EventReader(run.events).events())
    with pytest.raises(FormatError, match=BOTH):
        recent_events(run.events, 5)
    reader = StateReader(run)
    for _ in range(2):
        with pytest.raises(FormatError, match=BOTH):
            reader.poll()
    run.events.unlink()
    tell(run)
    assert reader.poll().planned == {"operator"}


def test_what_came_before_a_newer_part_is_taken_in_once(run):
    tell(run)
    known = run.events.read_bytes()
    tell(run, "run_resumed")
    newer = run.events.read_bytes().removeprefix(known).replace(b'"format":1', b'"format":2')
    run.events.write_bytes(known + newer)
    history = History()
    reader = StateReader(run, history)
    for _ in range(3):
        with pytest.raises(FormatError, match=BOTH):
            reader.poll()
    run.events.write_bytes(known)  # the newer part is taken away
    view = history.view(1, reader.poll())
    assert [event.seq for event in view.recent] == [1]


def test_among_all_runs_a_newer_one_is_damaged_and_says_why(make_run, tmp_path):
    newer_history(make_run("newer"))
    set_format(make_run("newest").path / "run.json", 3)
    tell(make_run("ours"))
    watcher = RunsWatcher(tmp_path / "runs")
    watcher.poll()
    ours, *damaged = watcher.states
    assert ours.run == "ours" and [type(run) for run in damaged] == [Damaged, Damaged]
    assert all(re.search(f"{BOTH}|{LATER}", run.message) for run in damaged)


def test_a_result(run):
    save_result(run, "net", TENSORS, {"stage": "operator"})
    path = run.checkpoints / "net.json"
    set_format(path, None)
    assert load_result(run, "net")[1]["stage"] == "operator"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 4}))
    for look in (load_result, read_sidecar):
        with pytest.raises(FormatError, match=LATEST):
            look(run, "net")


def test_a_resumable_state_of_a_newer_program_is_not_passed_over_for_the_one_before(run):
    store = ResumeStore(run.resume)
    for step in (1, 2):
        store.save(TENSORS, {"step": step})
    manifest = run.resume / "000002/manifest.json"
    set_format(manifest, None)
    assert store.load()[1] == {"step": 2}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 3}))
    with pytest.raises(FormatError, match=LATER):
        ResumeStore(run.resume).load()
