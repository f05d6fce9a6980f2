"""Every screen at every size as a picture, made of recorded runs: whoever changes how something looks, sees it here.

What names every screen, the top bar, the help and the palette, stands in one picture alone, so that another screen
changes no more than that one.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import readme_picture
from pilots import piloted, until
from recorded_runs import BEFORE_FINISH, PARKED, PAUSED, RecordedApp, dated, lose, owned, recorded, say
from text_pictures import TextPicture, text_picture
from textual.pilot import Pilot
from textual.widgets import Input

from ups_app.tui.widgets.bars import TopBar
from ups_engine.runs.directory import RunDirectory

SIZES = ((80, 24), (120, 40), (200, 60))
NOW = 1795383600.0
"""After all that was recorded."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of all pictures, in a home and a time zone of its own."""
    home = tmp_path / "ada"
    place = home / "burgers"
    place.mkdir(parents=True)
    (place / "ups.toml").write_text("[stages.operator]\nepochs = 60\n")
    monkeypatch.chdir(place)
    for name in ("NO_COLOR", "XDG_CONFIG_HOME", *(name for name in os.environ if name.startswith("UPS_"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield place
    monkeypatch.undo()
    time.tzset()


Step = Callable[[Pilot[None]], Awaitable[None]]


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    Attributes:
        screen: in front.
        run: makes the runs and gives the followed one.
        live: whether the followed run has a process.
        act: what the user does before the picture is taken.
        options: of the application.
    """

    screen: str
    run: Callable[[Path], RunDirectory]
    live: bool = False
    act: Step | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def app(self, folder: Path, **options: Any) -> Iterator[RecordedApp]:
        """The interface, with the runs in the folder."""
        run = self.run(folder)
        with ExitStack() as stack:
            if self.live:
                stack.enter_context(owned(run))
            yield RecordedApp(folder, run, screen=self.screen, now=NOW, **{**self.options, **options})

    async def play(self, pilot: Pilot[None], *, bar: bool = False) -> None:
        """Wait until everything is there, act, and wait again; the top bar is left empty unless it is wanted."""
        await self.rest(pilot)
        pilot.app.screen_stack[0].query_one(TopBar).visible = bar
        if self.act is not None:
            await self.act(pilot)
        await self.rest(pilot)

    @staticmethod
    async def rest(pilot: Pilot[None]) -> None:
        """Wait until everything is there."""
        app = pilot.app
        for entry in app.screen.query(Input):
            entry.cursor_blink = False
        await until(pilot, lambda: app.screen_stack[0].settled and app.caught_up, "settled")
        await pilot.wait_for_scheduled_animations()
        await pilot.pause()


def operator(folder: Path) -> RunDirectory:
    return recorded(folder, until=BEFORE_FINISH)


def failed(folder: Path) -> RunDirectory:
    run = operator(folder)
    say(run, "warning", stage="operator", message="the loss was not finite, its step was left out", count=1)
    say(run, "warning", message="checkpoint not written: No space left on device: runs/burgers/checkpoints/resume")
    say(run, "run_failed", error="the disk is full: cannot write checkpoints/resume/2.safetensors", hint="free 14 MiB")
    return run


def lost(folder: Path) -> RunDirectory:
    return lose(operator(folder))


def every_kind_of_run(folder: Path) -> RunDirectory:
    """A run in every state a list can show, the followed one live."""
    followed = operator(folder)
    kinds = {
        "burgers-large-batch": recorded(folder, until=PARKED, name="burgers-large-batch"),
        "cpu": recorded(folder, "finished", name="cpu"),
        "nu0.001-with-a-name-that-says-all": lose(
            recorded(folder, until=PARKED - 1, name="nu0.001-with-a-name-that-says-all")
        ),
        "night": recorded(folder, until=BEFORE_FINISH, name="night"),
        "copied": recorded(folder, name="copied"),
    }
    say(kinds["night"], "run_failed", error="the disk is full", hint="free 14 MiB")
    for days, run in enumerate(kinds.values(), start=1):
        dated(run, 1795382726.0 - days * 100_000)
    (kinds["copied"].path / "run.json").write_text("{}")
    return followed


def pressed(*keys: str) -> Step:
    async def press(pilot: Pilot[None]) -> None:
        await pilot.press(*keys)

    return press


def palette(*typed: str, found: Callable[[int], bool]) -> Step:
    """Open the palette and look for something; wait until as many actions are found as there should be."""

    async def look(pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+p", *typed)
        await until(pilot, lambda: found(pilot.app.screen.query("OptionList").first().option_count), "all found")

    return look


async def mistake(pilot: Pilot[None]) -> None:
    """Type a value that is out of range."""
    await pilot.press("slash", *"batch", "enter", "e", "minus", "1")
    await until(pilot, lambda: "= -1" in pilot.app.screen.query_one("#said").content.plain, "the mistake is told")


def whole(folder: Path) -> RunDirectory:
    return recorded(folder)


def evaluated(folder: Path) -> RunDirectory:
    return recorded(folder, "finished")


SCENES = {
    "runs": Scene("runs", every_kind_of_run, live=True),
    "launch": Scene("launch", evaluated),
    "launch-mistake": Scene("launch", evaluated, act=mistake),
    "dashboard": Scene("dashboard", operator, live=True),
    "dashboard-paused": Scene("dashboard", lambda folder: recorded(folder, until=PAUSED), live=True),
    "dashboard-failed": Scene("dashboard", failed),
    "dashboard-lost": Scene("dashboard", lost),
    "dashboard-finished": Scene("dashboard", evaluated),
    "cache": Scene("cache", evaluated),
    "cache-damaged": Scene("cache", evaluated, options={"damaged": True}),
    "results": Scene("results", evaluated),
    "settings": Scene("settings", evaluated),
    "log": Scene("log", whole),
    "palette": Scene("dashboard", operator, live=True, act=palette(*"highlight", found=lambda count: count == 5)),
    "confirm": Scene("dashboard", operator, live=True, act=pressed("s")),
}
NAMING = {
    "help": Scene("dashboard", operator, live=True, act=pressed("question_mark")),
    "palette": Scene("dashboard", operator, live=True, act=palette(found=lambda count: count > 20)),
}
"""What names every screen."""
LOOKS = {
    "light": ("dashboard", "results"),
    "high-contrast": ("dashboard", "launch"),
    "no-colour": ("dashboard", "runs"),
    "ascii": ("dashboard", "results"),
    "read-only": ("dashboard",),
}
"""Ways to look, and screens that are shown so."""


@pytest.mark.parametrize("name", SCENES)
async def test_screen(name, folder, snapshot):
    """One interface, resized: what fits a size must not depend on where one comes from."""
    with SCENES[name].app(folder) as app:
        async with piloted(app, SIZES[0]) as pilot:
            await SCENES[name].play(pilot)
            alike = {}
            for columns, lines in SIZES:
                await pilot.resize_terminal(columns, lines)
                await SCENES[name].rest(pilot)
                size = f"{columns}x{lines}"
                alike[size] = text_picture(app) == snapshot(name=size, extension_class=TextPicture)
            assert all(alike.values()), alike


async def test_what_names_every_screen(folder, snapshot, monkeypatch):
    pictures = []
    for name, scene in NAMING.items():
        with scene.app(folder / name) as app:
            async with piloted(app, SIZES[0]) as pilot:
                await scene.play(pilot, bar=True)
                for size in SIZES:
                    await pilot.resize_terminal(*size)
                    await scene.rest(pilot)
                    pictures.append(text_picture(app))
    scene = SCENES["dashboard"]
    for look in LOOKS:
        with monkeypatch.context() as patch, scene.app(folder / look, **looking(look, patch)) as app:
            async with piloted(app, SIZES[1]) as pilot:
                await scene.play(pilot, bar=True)
                pictures.append(text_picture(app, lines=1))
    assert "\n\n".join(pictures) == snapshot(extension_class=TextPicture)


def looking(look: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of an application that looks so."""
    if look == "no-colour":
        monkeypatch.setenv("NO_COLOR", "1")
    looks = {"ascii": {"ascii": True}, "no-colour": {}, "read-only": {"read_only": True}}
    return looks.get(look, {"theme": look})


@pytest.mark.parametrize(("name", "look"), [(name, look) for look, names in LOOKS.items() for name in names])
async def test_look(name, look, folder, snapshot, monkeypatch):
    with SCENES[name].app(folder, **looking(look, monkeypatch)) as app:
        async with piloted(app, SIZES[0]) as pilot:
            await SCENES[name].play(pilot)
            assert text_picture(app) == snapshot(extension_class=TextPicture)


@pytest.mark.parametrize("name", ["dashboard", "results", "launch"])
def test_svg(name, folder, snap_compare):
    """What the text form cannot hold: the way Textual draws a picture."""
    with SCENES[name].app(folder) as app:
        assert snap_compare(app, terminal_size=SIZES[name == "dashboard"], run_before=SCENES[name].play)


def test_the_picture_in_the_readme_is_what_the_command_makes(tmp_path):
    made, kept = readme_picture.make(tmp_path), readme_picture.PICTURE.read_text("utf-8")
    assert readme_picture.without_top_line(made) == readme_picture.without_top_line(kept)
