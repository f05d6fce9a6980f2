import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from ups_engine.errors import RunError, UsageError
from ups_engine.runs.directory import RunDirectory


def recorded(run):
    return json.loads((run.path / "run.json").read_text())


def test_a_new_run_has_the_files_and_folders_of_the_contract(run):
    present = {str(path.relative_to(run.path)) for path in run.path.rglob("*")}
    assert present == {
        "run.json",
        "settings.toml",
        "origins.json",
        "commands",
        "checkpoints",
        "checkpoints/resume",
        "reports",
    }
    record = recorded(run)
    assert list(record) == ["format", "id", "created", "version", "commit", "argv", "folder", "task", "owner", "hashes"]
    assert abs(record["created"] - time.time()) < 60
    assert re.fullmatch(r"[0-9A-Z]{26}", record["id"])
    assert record["argv"] == ["ups", "train", "--headless"]
    assert record["task"] == "burgers1d" and run.record.owner is None
    assert run.settings_toml == "seed = 0\n"
    assert json.loads((run.path / "origins.json").read_text()) == {"seed": "settings/default.toml"}


def test_the_commit_is_that_of_the_source_tree(run):
    commit = recorded(run)["commit"]
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", commit)


def test_an_unnamed_run_is_named_after_task_and_time(make_run):
    assert re.fullmatch(r"burgers1d-\d{8}-\d{6}", make_run().name)
    assert re.fullmatch(r"my-task-\d{8}-\d{6}", make_run(task="my/task ").name)


def test_runs_started_at_once_get_folders_of_their_own(make_run):
    runs, barrier = [], threading.Barrier(8)

    def start():
        barrier.wait()
        runs.append(make_run())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.path for run in runs}) == 8
    assert len({recorded(run)["id"] for run in runs}) == 8
    assert any(run.name.endswith("-2") for run in runs)


def test_a_taken_name_is_refused_and_its_run_left_alone(make_run):
    before = recorded(make_run("mine"))
    with pytest.raises(RunError, match="mine exists already") as caught:
        make_run("mine")
    assert "--resume mine" in caught.value.hint
    assert make_run("mine-2").name == "mine-2"
    assert recorded(RunDirectory.find("mine", make_run("x").path.parent)) == before


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "-x", "a b", "a" * 129, "ü"])
def test_names_that_are_no_folder_names_are_usage_errors(make_run, tmp_path, name):
    with pytest.raises(UsageError, match="cannot be the name"):
        make_run(name)
    assert not list(tmp_path.rglob("run.json"))


def create_at(path):
    return RunDirectory.create(path.parent, None, settings_toml="", origins={}, argv=["ups"], task="t", folder=path)


def test_a_chosen_folder_may_be_absent_or_empty(tmp_path):
    assert recorded(create_at(tmp_path / "deep" / "down"))["task"] == "t"
    (tmp_path / "empty").mkdir()
    assert create_at(tmp_path / "empty").path == tmp_path / "empty"


def test_a_chosen_folder_with_anything_in_it_is_refused_untouched(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="not an empty folder") as caught:
        create_at(tmp_path / "full")
    assert "nothing was changed" in caught.value.hint
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="not an empty folder"):
        create_at(tmp_path / "file")
    create_at(tmp_path / "run")
    with pytest.raises(RunError, match="already holds a run"):
        create_at(tmp_path / "run")


def test_a_run_that_cannot_be_written_leaves_no_traces(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path; from ups_engine.errors import RunError\n"
        "from ups_engine.runs.directory import RunDirectory\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "root = Path(sys.argv[1])\n"
        "a = dict(settings_toml='x' * 200, origins={}, argv=[], task='t')\n"
        "for make in (lambda: RunDirectory.create(root / 'runs', 'n', **a),\n"
        "             lambda: RunDirectory.create(root, None, folder=root / 'here', **a)):\n"
        "    try: make()\n"
        "    except RunError as error: print(error.message)\n"
    )
    (tmp_path / "here").mkdir()
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.count("settings.toml") == 2, done.stderr
    assert not list((tmp_path / "runs").iterdir()) and not list((tmp_path / "here").iterdir())


def test_a_run_is_found_by_name_and_by_folder(run, monkeypatch):
    root = run.path.parent
    assert RunDirectory.find("one", root).path == run.path
    assert RunDirectory.find(run.path, root).path == run.path
    monkeypatch.chdir(root.parent)
    assert RunDirectory.find("runs/one", root).path == run.path
    assert RunDirectory.find("./runs/one/", root).path == run.path


def test_a_run_that_is_not_there_is_answered_with_the_nearest(make_run, tmp_path):
    root = make_run("burgers-a").path.parent
    make_run("burgers-b")
    with pytest.raises(RunError, match="no run burger-a") as caught:
        RunDirectory.find("burger-a", root)
    assert "burgers-a" in caught.value.hint
    with pytest.raises(RunError) as caught:
        RunDirectory.find("x", tmp_path / "nowhere")
    assert "ups train" in caught.value.hint
    with pytest.raises(RunError, match=r"holds no run: there is no run\.json"):
        RunDirectory.find(tmp_path, root)


def test_runs_are_listed_newest_first_and_other_folders_not_at_all(make_run, tmp_path):
    names = ["c", "a", "b"]
    for name in names:
        make_run(name)
        time.sleep(0.002)
    root = tmp_path / "runs"
    (root / "notes").mkdir()
    (root / "file").write_text("")
    assert [run.name for run in RunDirectory.list_runs(root)] == ["b", "a", "c"]
    assert RunDirectory.list_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": 1}', "\udcff"])
def test_a_damaged_record_is_named(run, text):
    (run.path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=r"run\.json"):
        _ = run.record
    assert [found.name for found in RunDirectory.list_runs(run.path.parent)] == ["one"]


def test_the_data_record_comes_back_as_it_was(run):
    assert run.data_record() is None
    record = {"splits": {"train": list(range(1000))}, "mean": [0.1, 1e-300], "files": ["ü.hdf5"]}
    run.write_data_record(record)
    assert run.data_record() == record
    (run.path / "data.json").write_text("{")
    with pytest.raises(RunError, match=r"data\.json"):
        run.data_record()


def test_only_checkpoints_need_torch_and_only_curves_need_numpy():
    code = (
        "import sys, pkgutil, importlib, ups_engine.runs as p\n"
        "names = {m.name for m in pkgutil.iter_modules(p.__path__)} - {'checkpoints', 'resume', 'tensor_file'}\n"
        "names -= {'curves', 'history', 'watch'}\n"
        "[importlib.import_module('ups_engine.runs.' + n) for n in names]\n"
        "print(sorted(m for m in ('torch', 'numpy', 'psutil', 'pydantic', 'dynaconf') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.stdout.strip() == "[]", done.stderr


def test_files_that_are_not_as_they_were_entered_are_named_and_settings_and_data_record_refused(run):
    run.write_data_record({"members": []})
    report = run.reports / "evaluation.json"
    report.write_text("{}")
    run.vouch(report)
    assert run.changes() == [] and run.data_record() == {"members": []}
    (run.path / "settings.toml").write_text("seed = 1\n")
    (run.path / "data.json").unlink()
    report.write_text("[]")
    assert run.changes() == [
        "settings.toml is not as UPS wrote it",
        "data.json is missing",
        "reports/evaluation.json is not as UPS wrote it",
    ]
    with pytest.raises(RunError, match=r"run one: settings.toml is not as UPS wrote it\nrestore it from a copy"):
        _ = run.settings_toml
    with pytest.raises(RunError, match=r"run one: data.json is missing"):
        run.data_record()


def test_a_run_of_an_earlier_version_is_read_as_it_is_and_gets_its_hashes_when_a_process_goes_on_with_it(run):
    run.write_data_record({"members": []})
    old = {key: value for key, value in recorded(run).items() if key not in ("format", "hashes")}
    (run.path / "run.json").write_text(json.dumps(old))
    (run.path / "settings.toml").write_text("seed = 2\n")
    assert run.settings_toml == "seed = 2\n" and run.data_record() == {"members": []} and run.changes() == []
    run.vouch_for_the_rest()
    assert set(run.record.hashes) == {"settings.toml", "data.json"} and recorded(run)["format"] == 2
    (run.path / "settings.toml").write_text("seed = 3\n")
    run.vouch_for_the_rest()
    assert run.changes() == ["settings.toml is not as UPS wrote it"]


def test_processes_that_enter_something_in_the_record_at_once_all_have_it_there(run, python):
    """An evaluation enters its report while the owner of the run comes and goes."""
    code = """
        import sys
        from pathlib import Path
        from ups_engine.runs.directory import RunDirectory
        run = RunDirectory(Path(sys.argv[1]))
        for number in range(20):
            path = run.reports / f"{sys.argv[2]}-{number}.json"
            path.write_text("{}")
            run.vouch(path)
    """
    processes = [python(code, run.path, name) for name in ("a", "b", "c")]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(run.record.hashes) == 1 + 3 * 20 and run.changes() == []
