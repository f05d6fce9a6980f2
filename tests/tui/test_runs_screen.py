"""The list of runs: live, finished, lost, failed and damaged ones, and what can be done to them."""

import json
import time

import pytest
from pilots import keys_of, make_app, piloted, text_of, toasts, until
from tiny_run import TRAIN

from ups_app.tui.widgets.table import Table


@pytest.fixture
def runs(copied):
    """A folder with a finished run, a lost, a failed and a damaged one."""
    root = copied.terminal.folder / "runs"
    root.mkdir()
    copied.path.rename(root / "finished")
    lines = (root / "finished/events.jsonl").read_text().splitlines(keepends=True)
    middle = next(at for at, line in enumerate(lines) if '"stage_started","stage":"operator"' in line) + 1
    for name, created in (("lost", 1.7e9), ("failed", 1.6e9), ("damaged", 1.5e9)):
        _like(root / "finished", root / name, lines[:middle], created)
    event = {"seq": middle + 1, "time": 1.6e9, "kind": "run_failed", "stage": None, "epoch": None, "step": None}
    event["data"] = {"error": "the disk is full", "hint": "free some space"}
    with (root / "failed/events.jsonl").open("a") as file:
        file.write(json.dumps(event, separators=(",", ":")) + "\n")
    (root / "damaged/run.json").write_text("{}")
    return copied.terminal.folder


def _like(source, target, lines, created):
    target.mkdir()
    (target / "commands").mkdir()
    record = json.loads((source / "run.json").read_text())
    (target / "run.json").write_text(json.dumps({**record, "created": created}))
    (target / "settings.toml").write_text((source / "settings.toml").read_text())
    (target / "origins.json").write_text((source / "origins.json").read_text())
    (target / "events.jsonl").write_text("".join(lines))


def in_an_hour():
    return time.time() + 3600


async def _on(pilot, name):
    table = pilot.app.screen.query_one(Table)
    await until(pilot, lambda: name in text_of(pilot.app))
    table.highlight(name)
    await until(pilot, lambda: table.highlighted == name)
    await pilot.pause()


async def test_every_kind_of_run_is_listed_with_what_to_do(runs):
    app = make_app(runs, clock=in_an_hour)
    async with piloted(app, size=(100, 30)) as pilot:
        await until(pilot, lambda: app.screen.settled and "damaged" in text_of(app))
        rows = [line.split()[1:3] for line in text_of(app).splitlines()[2:6]]
        assert rows == [["finished", "finished"], ["lost", "lost"], ["failed", "failed"], ["damaged", "damaged"]]
        assert "6 of 6 stages" in text_of(app)
        assert "operator" in text_of(app).splitlines()[3]

        await _on(pilot, "lost")
        assert "goes on from its last saved state" in text_of(app)
        assert "r resume" in keys_of(app)
        assert "pause" not in keys_of(app)
        await _on(pilot, "failed")
        assert "the disk is full" in text_of(app)
        assert "free some space" in text_of(app)
        await _on(pilot, "damaged")
        assert "run.json" in "".join(line.strip() for line in text_of(app).splitlines())  # it is wrapped
        assert "resume" not in keys_of(app)
        await _on(pilot, "finished")
        assert "resume" not in keys_of(app)


async def test_enter_opens_the_highlighted_run(runs):
    app = make_app(runs, clock=in_an_hour)
    async with piloted(app) as pilot:
        await _on(pilot, "lost")
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "dashboard" and app.view is not None)
        assert app.followed.name == "lost"
        assert app.view.state.state == "lost"


async def test_a_run_that_is_not_live_takes_no_command_and_the_toast_says_why(runs):
    app = make_app(runs, clock=in_an_hour)
    async with piloted(app) as pilot:
        await _on(pilot, "finished")
        await pilot.press("x")
        await until(pilot, lambda: toasts(app))
        assert toasts(app) == ["stop refused: the run is finished, so no process would obey"]
        assert not list((runs / "runs/finished/commands").glob("*.json"))


async def test_a_run_is_removed_after_a_question_and_only_then(runs):
    app = make_app(runs, clock=in_an_hour)
    async with piloted(app) as pilot:
        await _on(pilot, "failed")
        await pilot.press("delete")
        await until(pilot, lambda: "Delete run failed" in text_of(app))
        await pilot.press("n")
        await until(pilot, lambda: app.screen.NAME == "runs" if hasattr(app.screen, "NAME") else False)
        assert (runs / "runs/failed/run.json").exists()
        await pilot.press("delete")
        await until(pilot, lambda: "Delete run failed" in text_of(app))
        await pilot.press("y")
        await until(pilot, lambda: any("failed is deleted" in toast for toast in toasts(app)), timeout=30)
        assert not (runs / "runs/failed").exists()
        await until(pilot, lambda: "failed" not in [key.value for key in app.screen.query_one(Table).rows])


async def test_the_folder_of_the_highlighted_run_is_copied(runs):
    app = make_app(runs, clock=in_an_hour)
    async with piloted(app) as pilot:
        await _on(pilot, "lost")
        await pilot.press("y")
        await until(pilot, lambda: toasts(app))
        assert app.clipboard == str(runs / "runs/lost")


async def test_a_live_run_is_controlled_and_each_command_is_acknowledged(tiny_folder):
    """A real run in a process of its own: pause, go on, finish a stage, stop; `test_session` has the rest."""
    long = ("--set", "stages.autoencoder.epochs=100000", "--set", "stages.operator.epochs=100000")
    path = tiny_folder.folder / "runs/live"
    process = tiny_folder.start(*TRAIN, *long, "--run-dir", path)
    app = make_app(tiny_folder.folder)
    async with piloted(app, size=(100, 30)) as pilot:

        async def told(*words):
            await until(pilot, lambda: any(all(word in toast for word in words) for toast in toasts(app)), str(words))

        async def is_now(state, stage=None):
            screen = app.screen

            def holds():
                target = screen.target()
                return target and target[1].state == state and stage in (None, target[1].stage)

            await until(pilot, holds, f"{state} {stage}")

        await until(pilot, lambda: path.joinpath("run.json").exists())
        await is_now("running", "autoencoder")
        assert "p pause" in keys_of(app)
        assert "remove" not in keys_of(app)
        await pilot.press("p")
        await told("pause", "done")
        await is_now("paused")
        await until(pilot, lambda: "p go on" in keys_of(app))
        await pilot.press("p")
        await told("resume", "done")
        await is_now("running")
        await pilot.press("f")
        await until(pilot, lambda: "Finish autoencoder now?" in text_of(app))
        await pilot.press("y")
        await told("finish stage autoencoder", "done")
        await is_now("running", "operator")
        await pilot.press("x")
        await told("stop", "done")
        await is_now("stopped")
        assert process.wait().code == 3
