"""A picture of a screen, without a terminal."""

import asyncio
from contextlib import suppress

from textual.pilot import Pilot

from ups_app.tui.app import UpsApp
from ups_app.tui.screens.base import UpsScreen
from ups_engine.errors import RunError

_PATIENCE = 120.0  # seconds; checking a cache may take long
_LOOKS_APART = 0.02


def take_picture(app: UpsApp, size: tuple[int, int]) -> str:
    """Run the interface unseen until its first screen shows all there is.

    Args:
        app: not running yet.
        size: columns and lines.

    Returns:
        SVG; the same run gives the same picture.

    Raises:
        RunError: the screen did not come to rest, or failed.
    """
    taken: list[str] = []

    async def pilot(pilot: Pilot[object]) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(_rest(app), _PATIENCE)
            await pilot.pause()
            taken.append(app.export_screenshot(title=app.title))
        app.exit()

    app.run(headless=True, size=size, auto_pilot=pilot)
    if not taken:
        raise RunError(f"the screen {app.first_screen} did not come to rest", "look at it in a terminal: ups tui")
    return taken[0]


async def _rest(app: UpsApp) -> None:
    while not (
        app.current_mode == app.first_screen
        and isinstance(app.screen, UpsScreen)
        and app.screen.is_mounted
        and app.screen.settled
        and all(worker.is_finished for worker in app.workers)
    ):
        await asyncio.sleep(_LOOKS_APART)
