"""The interface under test: on real run folders, with waiting for conditions instead of sleeping."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from terminal import Terminal
from textual.pilot import Pilot
from textual.strip import Strip

from ups_app.tui.app import UpsApp
from ups_app.tui.process import Done
from ups_app.tui.widgets.bars import KeyBar, TopBar
from ups_engine.config.layers import load_settings
from ups_engine.runs.directory import RunDirectory


class PilotedApp(UpsApp):
    """The interface with all toasts kept; its `ups` commands are forked from a process that has imported torch."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.told: list[str] = []

    def notify(self, message: str, **options: Any) -> None:
        self.told.append(message)
        super().notify(message, **options)

    async def ups(self, *arguments: str, on_line: Callable[[str], None] | None = None) -> Done:
        """What `process.ups` does; `test_ups_processes` has that itself."""
        command, told = Terminal(Path.cwd(), os.environ).start(*arguments), 0
        try:
            while command.running:
                await asyncio.sleep(0.01)
                whole = command.said.rpartition("\n")[0].splitlines()
                for line in whole[told:] if on_line else ():
                    on_line(line)
                told = len(whole)
        except asyncio.CancelledError:
            command.send(signal.SIGTERM)
            raise
        done = command.wait()
        return Done(done.code, done.out, done.err)


def make_app(folder: Path, run: RunDirectory | None = None, *, settings=(), **options) -> PilotedApp:
    """The interface as `ups tui` starts it in a working folder whose runs are in `runs/`, or beside `run`."""
    root = folder / "runs" if run is None else run.path.parent
    resolved = load_settings(folder=folder, env={}, home=folder, overrides=[f"runs.root={root}", *settings])
    return PilotedApp(resolved, run, **options)


@asynccontextmanager
async def piloted(app: UpsApp, size=(80, 24)):
    """Run the interface without a terminal until the block ends; what it did not survive is raised."""
    forkserver.ensure_running()  # before the application has taken the standard streams, which would be handed on to it
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        yield pilot


async def until(pilot: Pilot, condition: Callable[[], object], what: str = "", timeout: float = 20.0) -> None:
    """Wait until something holds; looked at less and less often, for a look renders the screen."""
    end, apart = time.monotonic() + timeout, 0.01
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what or condition} did not come true in {timeout} s:\n{text_of(pilot.app)}")
        await asyncio.sleep(apart)
        apart = min(1.2 * apart, 0.1)
    await pilot.pause()


def is_there(app: UpsApp, name: str) -> bool:
    """Whether a screen is in front, with all of its parts."""
    return app.current_mode == name and app.screen.is_mounted and bool(keys_of(app).strip())


async def goes_to(pilot: Pilot, key: str, name: str, *, settled: bool = True) -> None:
    """Press a key that leads to a screen, and wait until it is there, or shows all there is."""
    app = pilot.app
    await pilot.press(key)
    await until(pilot, lambda: is_there(app, name), name)
    if settled:
        await until(pilot, lambda: app.screen.settled, f"{name} settled")


def text_of(app: UpsApp) -> str:
    """What is on the screen, line by line."""
    return "\n".join(strip.text.rstrip() for strip in strips_of(app))


def strips_of(app: UpsApp) -> list[Strip]:
    """What is on the screen with its styles, line by line. Nothing public tells it but a picture in SVG."""
    width, height = app.size
    return [strip.crop(0, width) for strip in app.screen._compositor.render_strips()[:height]]


def top_of(app: UpsApp) -> str:
    """The first line."""
    return app.screen.query_one(TopBar).content.plain


def keys_of(app: UpsApp) -> str:
    """The last line."""
    return app.screen.query_one(KeyBar).content.plain


def toasts(app: PilotedApp) -> list[str]:
    """What was told, oldest first."""
    return app.told
