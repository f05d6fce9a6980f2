"""Themes, states, and terminals that can do less."""

import pytest
from pilots import make_app, piloted, strips_of, text_of, until
from rich.cells import cell_len
from rich.color import Color, ColorSystem

from ups_app.terminal import shows_unicode
from ups_app.tui.looks import STATES, THEMES, has_few_colours, plain, themes
from ups_engine.config.schema import TuiSettings


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ({"LC_ALL": "C"}, False),
        ({"LANG": "POSIX"}, False),
        ({"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({"LC_ALL": "", "LANG": "en_GB.UTF-8"}, True),
        ({"LC_CTYPE": "C.utf8", "LANG": "C"}, True),
        ({}, True),
    ],
)
def test_a_locale_without_utf8_asks_for_ascii(env, shown):
    assert shows_unicode(env) is shown


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("loss ▁▂▃█ 3·10⁻²", None),
        ("╭──┬──╮ │ ├┤ ╰━━╯", "+--+--+ | ++ +--+"),
        ("● running ✓ ✗ ○ …", "* running + x o ."),
        ("naïve Ångström", "naive Angstrom"),
        ("日本 é e\u0301", None),
        ("⣿⠁\u2800", "** "),
    ],
)
def test_plain_text_is_ascii_and_as_wide_as_before(text, ascii_text):
    result = plain(text)
    assert result.isascii()
    assert cell_len(result) == cell_len(text)
    assert ascii_text in (None, result)


def test_no_two_states_look_the_same_in_words():
    assert {"waiting", "running", "paused", "parked", "stopped", "failed", "finished", "lost", "skipped"} <= set(STATES)


def test_every_theme_that_the_settings_know_is_there():
    assert set(THEMES) == set(TuiSettings.model_fields["theme"].annotation.__args__)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("pair", [("foreground", "background"), ("foreground", "panel"), ("muted", "background")])
def test_text_can_be_read_in_every_theme(theme, pair):
    """The contrast that WCAG asks of text, 4.5."""
    look = THEMES[theme]
    values = {"foreground": look.foreground, "background": look.background, "panel": look.panel, **look.variables}
    bright, dark = sorted((_luminance(values[name]) for name in pair), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("colour", ["primary", "success", "warning", "error"])
def test_signal_colours_can_be_read_in_every_theme(theme, colour):
    look = THEMES[theme]
    bright, dark = sorted((_luminance(getattr(look, colour)), _luminance(look.background)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_signal_colours_stay_apart_in_sixteen_colours():
    for theme in themes(few_colours=True):
        colours = [Color.parse(getattr(theme, name)) for name in ("primary", "success", "warning", "error")]
        numbers = {colour.downgrade(ColorSystem.STANDARD).number for colour in colours}
        assert len(numbers) == 4, theme.name
        assert numbers.isdisjoint({0, 7, 8, 15}), theme.name  # black, greys, white


async def test_ascii_reaches_every_cell(finished):
    app = make_app(finished.path, finished.directory, screen="runs", ascii=True)
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        assert "+ finished" in text_of(app)
        for key in ("question_mark", "escape", "ctrl+p"):
            assert text_of(app).isascii(), text_of(app)
            await pilot.press(key)
            await pilot.pause()
        assert text_of(app).isascii(), text_of(app)


async def test_no_color_writes_no_colour_and_still_shows_the_cursor(finished, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app(finished.path, finished.directory, screen="runs")
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        segments = [segment for strip in strips_of(app) for segment in strip]
        styles = [segment.style for segment in segments if segment.style is not None]
        assert all(style.color is None or style.color.is_default for style in styles)
        assert all(style.bgcolor is None or style.bgcolor.is_default for style in styles)
        reversed_text = "".join(segment.text for segment in segments if segment.style and segment.style.reverse)
        assert finished.path.name in reversed_text
        assert "1 runs" in reversed_text


@pytest.mark.parametrize("theme", THEMES)
async def test_a_theme_of_the_settings_is_taken(finished, theme):
    app = make_app(finished.path, finished.directory, screen="settings", settings=[f"tui.theme={theme}"])
    async with piloted(app):
        assert app.theme == theme


def _luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(
    ("env", "few"),
    [
        ({"TERM": "screen"}, True),
        ({"TERM": "screen", "TMUX": "/tmp/tmux-0/default,1,0"}, False),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, False),
    ],
)
def test_terminals_of_sixteen_colours_are_recognised(env, few):
    assert has_few_colours(env) is few
