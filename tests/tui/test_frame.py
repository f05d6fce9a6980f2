"""The application as a whole: screens by their digits, at every size; toasts; pictures; questions."""

from inspect import isawaitable

import pytest
from pilots import goes_to, keys_of, make_app, piloted, text_of, toasts, top_of, until

from ups_app.tui.screens import SCREENS
from ups_app.tui.widgets.bars import KeyBar, TopBar
from ups_app.tui.widgets.confirm import Confirm


async def test_every_screen_comes_by_its_digit_in_terminals_of_every_size(finished):
    app = make_app(finished.path, finished.directory, screen="log")
    async with piloted(app) as pilot:
        for width, height in ((80, 24), (60, 15), (20, 5)):
            await pilot.resize_terminal(width, height)
            for digit, name in enumerate(SCREENS, start=1):
                await goes_to(pilot, str(digit), name, settled=False)
                if width < 60:
                    continue  # it must not break there, no more
                lines = text_of(app).splitlines()
                assert len(lines) == height
                assert lines[0] == top_of(app).rstrip()
                for part in ("UPS", f" {digit} {name}", "finished"):
                    assert part in lines[0], lines[0]
                assert lines[-1].strip() == keys_of(app).strip()
                assert "? help" in lines[-1]
                assert "q quit" in lines[-1]


async def test_the_top_bar_shortens_the_name_before_anything_else(finished):
    app = make_app(finished.path, finished.directory, screen="log")
    async with piloted(app, size=(160, 24)) as pilot:
        await until(pilot, lambda: app.screen.settled)
        assert "3 dashboard" in top_of(app)
        await pilot.resize_terminal(60, 24)
        await until(pilot, lambda: "3 dashboard" not in top_of(app))
        assert "7 log" in top_of(app)
        assert "finished" in top_of(app)


async def test_a_click_on_the_bars_does_what_the_key_does(finished):
    app = make_app(finished.path, finished.directory, screen="log")
    async with piloted(app, size=(160, 24)) as pilot:
        await until(pilot, lambda: app.screen.settled)
        await pilot.click("TopBar", offset=(top_of(app).index("6 settings") + 3, 0))
        await until(pilot, lambda: app.current_mode == "settings" and app.screen.settled)
        await pilot.click("KeyBar", offset=(keys_of(app).index("help") + 1, 0))
        await until(pilot, lambda: "everywhere" in text_of(app))


async def test_without_a_run_the_list_of_runs_comes_first(tmp_path):
    app = make_app(tmp_path)
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.current_mode == "runs" and app.screen.settled)
        assert "There are no runs under" in text_of(app)
        for digit, name in enumerate(SCREENS, start=1):
            await goes_to(pilot, str(digit), name, settled=False)


async def test_the_picture_key_writes_an_svg_and_says_where(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = make_app(finished.path, finished.directory, screen="settings")
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: toasts(app))
        (picture,) = tmp_path.glob("*.svg")
        assert picture.name in toasts(app)[0]
        assert picture.read_text("utf-8").startswith("<svg")


@pytest.mark.parametrize(("key", "done"), [("y", True), ("enter", True), ("n", False), ("escape", False)])
async def test_a_question_is_answered_by_a_key(tmp_path, key, done):
    app, answers = make_app(tmp_path), []
    async with piloted(app) as pilot:
        app.confirm("Lose it?", lambda: answers.append(True))
        await until(pilot, lambda: isinstance(app.screen, Confirm) and "Lose it?" in text_of(app))
        await pilot.press(key)
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        assert answers == [True] * done


async def test_what_is_told_is_no_markup(tmp_path):
    app = make_app(tmp_path)
    async with piloted(app) as pilot:
        app.tell("[red]not red[/red] [broken")
        await until(pilot, lambda: "[red]not red[/red] [broken" in text_of(app))


@pytest.mark.parametrize("screen", ["runs", "dashboard", "results", "settings", "log"])
async def test_nothing_is_drawn_when_nothing_happens(finished, screen):
    """The line may be slow: a run that stands still sends nothing to the terminal, however often it is looked at."""
    app, drawn, looks = make_app(finished.path, finished.directory, screen=screen), [], []
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.current_mode == screen and app.screen.settled)
        await until(pilot, lambda: all(worker.is_finished for worker in app.workers))
        await until(pilot, lambda: looks.append(1) or len(looks) > 20)  # what it began is drawn by then
        display = app._display
        app._display = lambda screen, update: (drawn.append(update), display(screen, update))
        looks.clear()
        app.set_interval(0.02, lambda: (looks.append(1), app.look()))
        await until(pilot, lambda: len(looks) > 20)
        assert [update for update in drawn if update is not None] == []


async def test_another_run_is_followed_from_the_list(copied):
    app = make_app(copied.path, copied.directory, screen="runs")
    app.root = copied.path.parent
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        before = app.view
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "dashboard" and app.view is not None)
        assert app.followed.path == copied.path
        assert app.view is not before


@pytest.mark.parametrize("name", ["dashboard", "log", "runs"])
async def test_news_that_come_while_the_interface_closes_do_not_break_it(finished, monkeypatch, name):
    app = make_app(finished.path, finished.directory, screen=name)
    bars_left = []

    async def late(bar):
        screen = app.screen_stack[0]
        bars_left.append(len(screen.query(TopBar)))
        app.deliver()
        if name != "dashboard" and isawaitable(looking := screen._look()):
            await looking

    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        monkeypatch.setattr(KeyBar, "on_unmount", late, raising=False)
    assert 0 in bars_left, "the news did not come while the screen was taken down"
