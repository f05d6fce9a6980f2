"""All runs: live, finished and lost."""

from ups_app.tui.screens.base import UpsScreen


class RunsScreen(UpsScreen):
    """The list of runs."""

    NAME = "runs"
