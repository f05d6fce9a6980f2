"""What can be done: one meaning a key, a method for every action, keys that can be moved."""

import re

import pytest
from pilots import goes_to, keys_of, make_app, piloted, text_of, toasts, until

from ups_app.tui.actions import COMMON, GO, key_name
from ups_app.tui.app import UpsApp
from ups_app.tui.registry import all_actions, keymap, screen_class
from ups_app.tui.screens import SCREENS
from ups_engine.errors import SettingsError

ACTIONS = dict.fromkeys(action for some in (*all_actions().values(), COMMON) for action in some)
"""Each once, in the order of the screens."""


def test_ids_are_unique_and_no_key_means_two_things_on_a_screen():
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    assert keymap([]) == {}
    for screen, own in all_actions().items():
        keys = [key for action in (*own, *COMMON) for key in action.key.split(",")]
        assert len(keys) == len(set(keys)), screen


@pytest.mark.parametrize("screen", SCREENS)
def test_every_screen_can_do_its_actions_by_keys_that_carry_their_ids(screen):
    kind = screen_class(screen)
    for action in kind.ACTIONS:
        assert callable(getattr(kind, f"action_{action.id}", None)), f"{screen} lacks {action.id}"
    assert {binding.id for binding in kind.BINDINGS} == {action.id for action in kind.ACTIONS}
    assert screen == kind.NAME


def test_the_application_can_do_what_all_screens_have():
    for action in COMMON:
        assert hasattr(UpsApp, f"action_{action.call.partition('(')[0]}")


def test_what_changes_something_is_marked():
    unmarked = {action.id for action in ACTIONS if not action.changes}
    assert unmarked.isdisjoint(
        {"start", "pause", "skip", "finish", "park", "stop", "resume", "remove", "launch", "build"}
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("pause", "is not action=key"),
        ("pause=", "is not action=key"),
        ("paus=space", "there is no action 'paus'"),
        ("pause=x", "means both pause and stop"),
        ("copy=q", "means both copy and quit"),
        ("help=1", "means both go_runs and help"),
    ],
)
def test_keys_that_cannot_be_are_refused_in_a_sentence(entry, message):
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        keymap([entry])
    assert caught.value.hint


def test_two_keys_may_change_places():
    assert keymap(["pause=x", "stop=p"]) == {"pause": "x", "stop": "p"}


@pytest.mark.parametrize(("key", "shown"), [("ctrl+s", "^s"), ("question_mark", "?"), ("slash", "/"), ("p", "p")])
def test_keys_are_shown_as_people_write_them(key, shown):
    assert key_name(key) == shown


async def test_a_moved_key_works_and_is_shown_everywhere(finished):
    app = make_app(finished.path, finished.directory, screen="log", settings=["tui.keys=['source=v', 'help=f1']"])
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        assert "v log.txt" in keys_of(app) or "v events" in keys_of(app)
        before = keys_of(app)
        await pilot.press("t")
        assert keys_of(app) == before
        await pilot.press("v")
        assert keys_of(app) != before
        await pilot.press("f1")
        await until(pilot, lambda: re.search(r"\bv  turn between log.txt and events", text_of(app)))


async def test_help_names_every_action(finished):
    app = make_app(finished.path, finished.directory, screen="settings")
    async with piloted(app, size=(120, 120)) as pilot:
        await until(pilot, lambda: app.screen.settled)
        await pilot.press("question_mark")
        await until(pilot, lambda: "everywhere" in text_of(app))
        shown = " ".join(text_of(app).split())
        for action in ACTIONS:
            assert action in GO or action.text in shown, action.id
        assert f"{' '.join(action.key for action in GO)} {', '.join(SCREENS)}" in shown
        await pilot.press("escape")
        await until(pilot, lambda: app.screen.NAME == "settings")


async def test_the_palette_does_what_the_keys_do(finished):
    app = make_app(finished.path, finished.directory, screen="settings")
    async with piloted(app, size=(80, 40)) as pilot:
        await until(pilot, lambda: app.screen.settled)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "high-contrast colours" in text_of(app))
        assert "/  show only lines that hold a text" in text_of(app)
        assert "pause" not in text_of(app)
        await pilot.press(*"go to log")
        await until(pilot, lambda: "7  go to log" in text_of(app) and "go to runs" not in text_of(app))
        await pilot.press("enter", "enter")
        await until(pilot, lambda: app.current_mode == "log")


async def test_read_only_hides_and_refuses_what_changes_anything(copied):
    app = make_app(copied.path, copied.directory, screen="runs", read_only=True)
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        assert "remove" not in keys_of(app)
        assert "open" in keys_of(app)
        await pilot.press("delete")
        await pilot.pause()
        assert app.screen.NAME == "runs"  # nothing was asked
        app.command("pause")
        await until(pilot, lambda: toasts(app))
        assert "read-only" in toasts(app)[0]
        assert not list(copied.directory.commands.glob("*.json"))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "open the dashboard" in text_of(app))
        assert "pause the run" not in text_of(app)
        await pilot.press("escape")
        await goes_to(pilot, "6", "settings")
