"""A whole session at the terminal with a real run: start, watch, command, leave, find it again, park, stop, finish."""

import os
import signal
from contextlib import suppress

import pytest
from pilots import goes_to, keys_of, make_app, piloted, text_of, toasts, top_of, until
from recorded_runs import BEFORE_FINISH, owned, recorded
from tiny_run import TINY, read_events

from ups_app.tui.registry import all_actions
from ups_app.tui.screens import launch
from ups_app.tui.widgets.stage_track import StageTrack
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.state import summarise

EPOCHS = "".join(f"[stages.{stage}]\nepochs = 100000\n" for stage in ("autoencoder", "diff_residual", "steady_prior"))
SMALL, LARGE = (80, 24), (160, 50)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder; a run that a test leaves behind in it ends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "SETTLED", 3600.0)  # the checks are asked for by their key
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "ups.toml").write_text(TINY + EPOCHS)
    yield tmp_path
    for run in RunDirectory.list_runs(tmp_path / "runs"):
        owner = summarise(run).lease
        if owner is not None and owner.alive:
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGKILL)


class Desk:
    """A user in front of the interface, who believes only what is on the screen and in the run's history."""

    def __init__(self, pilot, run):
        self.pilot, self.app, self.run = pilot, pilot.app, run

    async def sees(self, state, stage=None):
        """The state in the top line; the stage marked as the one under way."""

        def shown():
            marked = [line.plain.split()[:2] for line in self.app.screen.query_one(StageTrack).lines]
            under_way = stage is None or any(stage in words and "●" in words[0] for words in marked)
            return state in top_of(self.app) and under_way

        await until(self.pilot, shown, f"{state} {stage}", timeout=60)

    async def sees_loss_go_on(self):
        """A curve, and steps that come while one looks."""
        before = self.app.view.state.last_event_seq

        def shown():
            return self.app.view.state.last_event_seq > before + 2 and "training" in text_of(self.app)

        await until(self.pilot, shown, "the loss goes on")

    async def does(self, key, command, *, yes=False, refused=False, stage=None):
        """Press a key; the toast and the history acknowledge the same."""
        before = len(self.said("command"))
        await self.pilot.press(key)
        if yes:
            await until(self.pilot, lambda: "y yes" in text_of(self.app), "the question")
            await self.pilot.press("y")
        outcome = "refused" if refused else "done"
        words = " ".join(filter(None, (command.replace("_", " "), stage, outcome)))
        await until(self.pilot, lambda: any(toast.startswith(words) for toast in toasts(self.app)), words)
        event = self.said("command")[before]
        assert (event["data"]["command"], event["data"]["outcome"]) == (command, outcome)
        assert stage is None or stage in (event["data"].get("stage"), event["stage"])
        if refused:
            assert any(event["data"]["reason"] in toast for toast in toasts(self.app))
        toasts(self.app).clear()

    async def highlights(self, stage):
        """Move to a stage."""
        while self.app.screen.stage() != stage:
            await self.pilot.press("down")

    def said(self, kind):
        return [event for event in read_events(self.run.events) if event["kind"] == kind]


async def test_a_session(folder):
    run = RunDirectory(folder / "runs/tiny")
    app = make_app(folder)
    async with piloted(app, SMALL) as pilot:
        await _launches(pilot)
        desk = Desk(pilot, run)
        await desk.sees("running", "autoencoder")
        await desk.sees_loss_go_on()
        await _pauses_and_goes_on(desk)
        await desk.does("f", "finish_stage", yes=True, stage="autoencoder")
        await desk.sees("running", "operator")
        await desk.highlights("diff_residual")
        await desk.does("s", "skip_stage", refused=True, stage="diff_residual")  # a later stage needs its result
        await desk.highlights("consistency_distill")
        await desk.does("s", "skip_stage", stage="consistency_distill")
        await until(pilot, lambda: "- consistency_distill" in text_of(app))
        await pilot.press("q")
    assert app.farewell() == "tiny goes on; come back with: ups tui tiny"

    app = make_app(folder)  # what left is gone; another one finds the run
    async with piloted(app, LARGE) as pilot:
        desk = Desk(pilot, run)
        await until(pilot, lambda: "● running" in text_of(app) and "operator" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "dashboard" and app.view is not None)
        await desk.sees("running", "operator")
        await desk.sees_loss_go_on()
        await desk.does("f", "finish_stage", yes=True, stage="operator")
        await desk.sees("running", "diff_residual")
        await desk.does("s", "skip_stage", yes=True, stage="diff_residual")
        await desk.sees("running", "steady_prior")
        await desk.does("k", "park")
        await desk.sees("parked")
        assert summarise(run).lease is None
        await _comes_back(desk)
        await pilot.resize_terminal(*SMALL)
        await desk.does("x", "stop")
        await desk.sees("stopped")
        await _comes_back(desk)
        await desk.does("f", "finish_stage", yes=True, stage="steady_prior")
        await desk.sees("finished")
        assert "✓ evaluation" in text_of(app) and "5 shows the results" in text_of(app)
        await goes_to(pilot, "5", "results")
        await until(pilot, lambda: "operator" in text_of(app) and "nRMSE by frame" in text_of(app))
    events = read_events(run.events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), "a gap"
    skipped = dict.fromkeys(event["stage"] for event in events if event["kind"] == "stage_skipped")
    assert list(skipped) == ["consistency_distill", "diff_residual"]
    assert sum(event["kind"] == "run_paused" for event in events) == 1


async def _launches(pilot):
    """Choose a preset, change a setting, give a name, look at the checks, and start."""
    app = pilot.app
    await goes_to(pilot, "2", "launch", settled=False)
    await pilot.press("p")
    await until(pilot, lambda: "smoke" in text_of(app))
    await pilot.press("end", "enter")
    app.screen.query_one("#settings").focus()
    await pilot.press("slash", *"operator.epochs", "enter", "e", *"90000")
    await until(pilot, lambda: "Enter takes it" in text_of(app))
    await pilot.press("enter")
    app.screen.query_one("#name").focus()
    await pilot.press(*"tiny")
    command = "ups train --detach --preset smoke --set stages.operator.epochs=90000 --set runs.name=tiny"
    await until(pilot, lambda: app.screen.copyable() == command)
    app.screen.query_one("#settings").focus()
    await pilot.press("c")
    await until(pilot, lambda: app.screen.settled and "ready" in text_of(app), "the checks", timeout=60)
    await pilot.press("ctrl+r")
    await until(pilot, lambda: "started tiny" in toasts(app), "the start", timeout=60)
    await until(pilot, lambda: app.current_mode == "dashboard" and app.view is not None)


async def _comes_back(desk):
    await desk.pilot.press("r")
    await until(desk.pilot, lambda: "run tiny goes on" in toasts(desk.app), timeout=60)
    toasts(desk.app).clear()
    await desk.sees("running", "steady_prior")
    await desk.sees_loss_go_on()


async def _pauses_and_goes_on(desk):
    await desk.does("p", "pause")
    await desk.sees("paused")
    assert "p go on" in keys_of(desk.app)
    epochs = len(desk.said("epoch"))
    await desk.does("p", "resume")
    await desk.sees("running")
    await desk.sees_loss_go_on()
    assert len(desk.said("epoch")) > epochs


async def test_reading_only_sends_nothing_and_offers_nothing(tmp_path):
    run = recorded(tmp_path, until=BEFORE_FINISH)
    with owned(run):
        app = make_app(tmp_path, run, read_only=True)
        async with piloted(app, SMALL) as pilot:
            await until(pilot, lambda: "read-only" in top_of(app) and "running" in top_of(app))
            for action in all_actions()["dashboard"]:
                if action.changes:
                    await pilot.press(action.key)
                    app.command("stop")
            await until(pilot, lambda: toasts(app))
            assert set(toasts(app)) == {"this interface is read-only"}
            assert app.screen.NAME == "dashboard", "nothing was asked"
            assert not {"pause", "skip", "finish", "park", "stop", "start"} & set(keys_of(app).split())
            assert not list(run.commands.iterdir())
