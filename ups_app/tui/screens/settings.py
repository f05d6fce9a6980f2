"""The screen of the settings."""

from ups_app.tui.screens.base import UpsScreen


class SettingsScreen(UpsScreen):
    """The settings."""

    NAME = "settings"
