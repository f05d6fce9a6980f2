"""The interface under test: on real run folders, with waiting for conditions instead of sleeping."""

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from ups_app.tui.app import UpsApp
from ups_app.tui.widgets.bars import KeyBar, TopBar
from ups_engine.config.layers import load_settings
from ups_engine.runs.directory import RunDirectory


def make_app(folder: Path, run: RunDirectory | None = None, *, settings=(), **options) -> UpsApp:
    """The interface as `ups tui` starts it in a working folder whose runs are in `runs/`, or beside `run`."""
    root = folder / "runs" if run is None else run.path.parent
    resolved = load_settings(folder=folder, env={}, home=folder, overrides=[f"runs.root={root}", *settings])
    return UpsApp(resolved, run, **options)


@asynccontextmanager
async def piloted(app: UpsApp, size=(80, 24)):
    """Run the interface without a terminal until the block ends; what it did not survive is raised."""
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        yield pilot


async def until(pilot: Pilot, condition: Callable[[], object], what: str = "", timeout: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what or condition} did not come true in {timeout} s:\n{text_of(pilot.app)}")
        await pilot.pause(0.01)
    await pilot.pause()


async def goes_to(pilot: Pilot, key: str, name: str, *, settled: bool = True) -> None:
    """Press a key that leads to a screen, and wait until it is there, or shows all there is."""
    app = pilot.app
    await pilot.press(key)
    await until(pilot, lambda: app.current_mode == name and app.screen.is_mounted and keys_of(app).strip(), name)
    if settled:
        await until(pilot, lambda: app.screen.settled, f"{name} settled")


def text_of(app: UpsApp) -> str:
    """What is on the screen, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line)[:width].rstrip() for line in lines[:height])


def top_of(app: UpsApp) -> str:
    """The first line."""
    return app.screen.query_one(TopBar).content.plain


def keys_of(app: UpsApp) -> str:
    """The last line."""
    return app.screen.query_one(KeyBar).content.plain


def toasts(app: UpsApp) -> list[str]:
    """What was told, oldest first."""
    return [notification.message for notification in app._notifications]
