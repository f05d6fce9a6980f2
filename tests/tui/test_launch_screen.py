"""The launch screen on real settings, files and processes: what is typed is checked, explained, kept, and started."""

import shlex
from contextlib import suppress

import pytest
from pilots import is_there, keys_of, make_app, piloted, text_of, toasts, until
from textual.widgets import Button
from tiny_run import TINY

from ups_app.tui.order import Order
from ups_app.tui.screens import launch
from ups_app.tui.screens.launch import LaunchScreen
from ups_app.tui.widgets.editor import Editor
from ups_app.tui.widgets.fields import Field, PathSuggester
from ups_app.tui.widgets.settings_table import SettingsTable
from ups_engine.config.paths import SETTINGS
from ups_engine.config.schema import STAGES
from ups_engine.errors import RunError
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import await_answer, request
from ups_engine.runs.state import summarise

SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder without runs, and no settings from outside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(launch, "SETTLED", 3600.0)  # no preflight where it is not the point
    (tmp_path / "ups.toml").write_text(TINY)
    return tmp_path


async def launched(pilot) -> LaunchScreen:
    pilot.app.switch_mode("launch")
    await until(pilot, lambda: is_there(pilot.app, "launch") and "looking at" not in status(pilot.app.screen))
    return pilot.app.screen


def status(screen):
    return screen.query_one("#status").content.plain


async def typed(pilot, text):
    await pilot.press(*("space" if c == " " else c for c in text))


def said(screen):
    return screen.query_one("#said").content.plain


def values(screen):
    """What the table shows: value and origin by path."""
    table = screen.query_one(SettingsTable)
    return {key.value: tuple(cell.plain for cell in table.get_row(key)[2:]) for key in table.rows}


def flat(app):
    """What is in the column of the preflight, as one line."""
    return " ".join(" ".join(line.plain.split()) for line in app.screen.query_one("#verdicts").lines)


def command(screen):
    return screen.query_one("#command").content.plain


@pytest.mark.parametrize("size", SIZES)
async def test_form_settings_preflight_command_and_start_are_on_the_screen_at_every_size(folder, size):
    async with piloted(make_app(folder), size) as pilot:
        screen = await launched(pilot)
        assert set(values(screen)) == set(SETTINGS)
        for widget in (
            "#preset",
            "#data",
            "#name",
            "#stages",
            "#settings",
            "#editor",
            "#preflight",
            "#command",
            "#start",
        ):
            region = screen.query_one(widget).region
            assert region.height and region.right <= size[0] and region.bottom <= size[1], widget
        assert screen.query_one("#settings").region.height >= 5 and screen.query_one("#preflight").region.height >= 4
        text = text_of(pilot.app)
        assert "$ ups train --detach" in text and "[x] autoencoder 8" in text and "[x] evaluation" in text


async def test_a_tiny_terminal_and_back(folder):
    async with piloted(make_app(folder)) as pilot:
        screen = await launched(pilot)
        for size in ((60, 15), (20, 5), (120, 40), (60, 15), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.press("e", *"3", "escape", "down")
            if size != (20, 5):
                here = screen.query_one(SettingsTable).highlighted
                await until(pilot, lambda here=here: here in text_of(pilot.app), "the highlighted setting is in sight")
        await until(pilot, lambda: "$ ups train --detach" in text_of(pilot.app))
        assert screen.order == Order()


async def test_a_setting_is_checked_as_it_is_typed_taken_when_valid_marked_and_taken_back(folder):
    async with piloted(make_app(folder), (120, 40)) as pilot:
        screen = await launched(pilot)
        table = screen.query_one(SettingsTable)
        assert values(screen)["training.batch_size"] == ("8", "ups.toml")
        table.highlight("training.batch_size")
        await pilot.press("enter", "0")
        assert screen.query_one(Field).screen.focused.value == "training.batch_size=0"
        await until(pilot, lambda: "must be a whole number above 0" in said(screen))
        await pilot.press("enter")
        await until(pilot, lambda: "must be a whole number above 0" in said(screen))
        assert screen.order.changed == {}, "a mistake is not taken"
        await pilot.press("backspace", *"32")
        await until(pilot, lambda: "Enter takes it" in said(screen) and "an optimiser step" in said(screen))
        await pilot.press("enter")
        await until(pilot, lambda: values(screen)["training.batch_size"] == ("32", "--set"))
        assert values(screen)["stages.operator.batch_size"] == ("32", "training, --set")
        assert "●" in [cell.plain for cell in table.get_row("training.batch_size")]
        assert command(screen).endswith("--detach --set training.batch_size=32") and "undo" in keys_of(pilot.app)
        assert screen.focused is table
        await pilot.press("delete")
        await until(pilot, lambda: values(screen)["training.batch_size"] == ("8", "ups.toml"))
        assert screen.order == Order() and "undo" not in keys_of(pilot.app)


async def test_a_slip_is_answered_with_the_nearest_key_and_what_is_allowed(folder):
    slips = {
        "training.batchsize=3": "the nearest is training.batch_size",
        "training.batchsize": "write KEY=VALUE; the nearest key is training.batch_size",
        "training.precision=fp8": "must be one of fp32, tf32, bf16",
        "training.optimizer=3": "is a table",
        "secrets.wandb=3": "is secret",
    }
    async with piloted(make_app(folder), (120, 40)) as pilot:
        screen = await launched(pilot)
        for text, answer in slips.items():
            screen.query_one(Editor).edit(text)
            await until(pilot, lambda answer=answer: answer in said(screen))
            await pilot.press("enter", "escape")
            assert screen.order == Order() and screen.focused is screen.query_one(SettingsTable)


async def test_the_table_is_filtered_and_a_text_that_nothing_holds_has_a_nearest(folder):
    async with piloted(make_app(folder)) as pilot:
        screen = await launched(pilot)
        await pilot.press("slash", *"batch_s")
        await until(pilot, lambda: set(values(screen)) == {key for key in SETTINGS if "batch_s" in key})
        await typed(pilot, "zie")
        await until(pilot, lambda: "no setting holds batch_szie; the nearest is" in said(screen))
        await pilot.press("escape")
        await until(pilot, lambda: len(values(screen)) == len(SETTINGS))
        assert screen.focused is screen.query_one(SettingsTable)


async def test_what_is_typed_fast_is_all_there_and_never_written_over(folder):
    async with piloted(make_app(folder)) as pilot:
        screen = await launched(pilot)
        screen.query_one("#data").focus()
        await typed(pilot, "some where/*.h5")
        await pilot.press("enter")
        await typed(pilot, "my-first.run")
        await until(pilot, lambda: screen.order.changed.get("runs.name") == "my-first.run")
        assert screen.order.changed["data.path"] == screen.query_one("#data").value == "some where/*.h5"
        assert shlex.split(screen.copyable())[3:] == ["--data", "some where/*.h5", "--set", "runs.name=my-first.run"]
        await screen.run_action("undo")
        assert screen.order.changed["runs.name"] == "my-first.run", "the cursor is elsewhere"
        screen.query_one(SettingsTable).highlight("data.path")
        await screen.run_action("undo")
        await until(pilot, lambda: screen.query_one("#data").value == "")
        assert screen.order == Order(changed={"runs.name": "my-first.run"})


async def test_a_preset_changes_values_and_origins_and_a_clash_disables_the_start_with_the_reason(folder):
    async with piloted(make_app(folder), (120, 40)) as pilot:
        screen = await launched(pilot)
        screen.query_one(Editor).edit("models.operator.heads=16")
        await pilot.press("enter")
        await until(pilot, lambda: values(screen)["models.operator.heads"] == ("16", "--set"))
        screen.query_one(SettingsTable).focus()
        await pilot.press("p")
        await until(pilot, lambda: "Everything once, in seconds on a laptop" in text_of(pilot.app))
        await pilot.press("end", "enter")
        await until(pilot, lambda: "✗ settings" in text_of(pilot.app) and "16 heads of even width" in flat(pilot.app))
        assert screen.query_one(Button).disabled
        assert "start run" not in keys_of(pilot.app)
        await pilot.press("ctrl+r")
        assert "16 heads" in toasts(pilot.app)[-1]
        screen.query_one(SettingsTable).highlight("models.operator.heads")
        await screen.run_action("undo")
        await until(pilot, lambda: values(screen)["models.operator.heads"] == ("2", "preset smoke"))
        assert not screen.query_one(Button).disabled and command(screen).endswith("--preset smoke")


async def test_stages_are_turned_off_and_on_by_keys_and_mouse(folder):
    async with piloted(make_app(folder), (120, 40)) as pilot:
        screen = await launched(pilot)
        choice = screen.query_one("#stages")
        choice.focus()
        await pilot.press("right", "space", "left", "left", "enter")
        assert screen.order.left_out == {"operator", "evaluation"}
        await until(pilot, lambda: "[ ] operator" in text_of(pilot.app) and "[ ] evaluation" in text_of(pilot.app))
        assert command(screen).endswith("--skip operator --skip evaluation")
        await pilot.click(choice, offset=(3, 0))
        await until(pilot, lambda: "autoencoder" in screen.order.left_out)
        for stage in STAGES:
            if stage not in screen.order.left_out:
                choice.action_turn(stage)
        await until(pilot, lambda: status(screen) == "every stage is left out")
        assert screen.query_one(Button).disabled


async def test_reading_only_starts_nothing(folder):
    async with piloted(make_app(folder, read_only=True)) as pilot:
        screen = await launched(pilot)
        await pilot.press("ctrl+r")
        assert screen.query_one(Button).disabled and "this interface is read-only" in text_of(pilot.app)
        assert "start run" not in keys_of(pilot.app)


async def test_a_bad_preflight_is_explained_asked_about_mended_and_the_run_started_and_followed(folder, monkeypatch):
    monkeypatch.setattr(launch, "SETTLED", 0.1)
    async with piloted(make_app(folder), (120, 40)) as pilot:
        screen = await launched(pilot)
        screen.put(Order("smoke", {"data.path": "/no/such.h5", "runs.name": "first"}))
        await until(pilot, lambda: screen.settled and "not ready" in status(screen), timeout=60)
        assert flat(pilot.app).startswith("✗ data no such file or folder: /no/such.h5")
        assert "not ready: 1 of" in text_of(pilot.app)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Start all the same?" in text_of(pilot.app))
        await pilot.press("n")
        assert not (folder / "runs").exists()
        screen.query_one(SettingsTable).highlight("data.path")
        await screen.run_action("undo")
        await pilot.press("ctrl+r")  # while the preflight is under way: it is waited for
        await until(pilot, lambda: "starts once the checks are done" in text_of(pilot.app))
        await until(pilot, lambda: pilot.app.followed is not None, timeout=60)
        run: RunDirectory = pilot.app.followed
        try:
            assert run.path == folder / "runs/first" and "started first" in toasts(pilot.app)
            await until(pilot, lambda: pilot.app.current_mode == "dashboard")
            assert summarise(run).state in ("running", "finished"), summarise(run).error
        finally:
            with suppress(RunError):  # it is short, and may end of itself meanwhile
                await_answer(run, request(run, "stop"), 60)
        assert "runs.name" not in screen.order.changed, "the next run needs another name"


async def test_a_path_is_completed_from_its_folder(folder):
    completed = PathSuggester().get_suggestion
    (folder / "files").mkdir()
    (folder / "files/burgers.h5").write_text("")
    (folder / "files/.hidden").write_text("")
    for typed, whole in (("fi", "files/"), ("files/", "files/burgers.h5"), ("files/bu", "files/burgers.h5")):
        assert await completed(typed) == whole
    assert await completed(f"{folder}/files/b") == f"{folder}/files/burgers.h5"
    assert [await completed(typed) for typed in ("", "nothing", "no/such/")] == [None] * 3


def test_an_order_knows_its_command_and_its_settings():
    order = (
        Order()
        .having("training.batch_size", "8")
        .having("data.path", " a b ")
        .having("runs.name", "x")
        .toggled("operator")
    )
    assert order.overrides == ["training.batch_size=8", "data.path=a b", "runs.name=x"]
    assert (
        order.command == "ups train --detach --data 'a b' --set training.batch_size=8 --set runs.name=x --skip operator"
    )
    back = order.without("training.batch_size").without("data.path").without("runs.name").toggled("operator")
    assert back == Order() and back.command == "ups train --detach"
