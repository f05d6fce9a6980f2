import shutil
from contextlib import closing

from ups_engine.runs.events import EventWriter
from ups_engine.runs.lease import Lease
from ups_engine.runs.watch import Damaged, RunsWatcher


def finish(run, outcome="finished"):
    with EventWriter(run.events) as writer:
        writer.emit("run_started", data={"stages": []})
        writer.emit("run_finished", data={"outcome": outcome})


def test_all_runs_newest_first_the_damaged_last(make_run, tmp_path):
    watcher = RunsWatcher(tmp_path / "runs")
    watcher.poll()
    assert watcher.states == () and watcher.problem is None  # no folder yet
    for name in ("old", "middle", "new"):
        finish(make_run(name), "parked" if name == "old" else "finished")
    damaged = make_run("damaged")
    (damaged.path / "run.json").write_text("{")
    (tmp_path / "runs" / "notes").mkdir()
    watcher.poll()
    *runs, last = watcher.states
    assert [(run.run, run.state) for run in runs] == [("new", "finished"), ("middle", "finished"), ("old", "parked")]
    assert isinstance(last, Damaged) and last.name == "damaged" and "run.json" in last.message
    shutil.rmtree(damaged.path)
    shutil.rmtree(runs[0].directory)
    watcher.poll()
    assert [run.run for run in watcher.states] == ["middle", "old"]


def test_runs_at_rest_are_not_read_again_until_they_change(make_run, tmp_path, until):
    runs = [make_run(f"run{number}") for number in range(20)]
    for run in runs:
        finish(run)
    with closing(RunsWatcher(tmp_path / "runs", interval=0.005).start()) as watcher:
        until(lambda: watcher.states and len(watcher.states) == 20)
        before = {state.run: state for state in watcher.states}
        with Lease.acquire(runs[3]), EventWriter(runs[3].events) as writer:
            writer.emit("run_resumed", data={"after": "restart", "stage": None})
            now = until(lambda: (states := watcher.states) and states[16].state == "running" and states)
            assert now[16].run == "run3"
            others = [state for state in now if state.run != "run3"]
            assert all(state is before[state.run] for state in others)
