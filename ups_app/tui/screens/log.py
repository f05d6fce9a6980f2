"""The screen of the log."""

from ups_app.tui.screens.base import UpsScreen


class LogScreen(UpsScreen):
    """The log."""

    NAME = "log"
