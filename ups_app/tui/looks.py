"""How things look: themes, the word, sign and colour of every state, and plain ASCII for terminals without UTF-8."""

import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from rich.console import Console
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

# Colours are those of the 256-colour palette, so that a terminal without true colour shows the very same.
THEMES: Mapping[str, Theme] = {
    theme.name: theme
    for theme in (
        Theme(
            name="dark",
            primary="#5fafd7",
            secondary="#87afd7",
            accent="#5fafd7",
            foreground="#d0d0d0",
            background="#121212",
            surface="#1c1c1c",
            panel="#262626",
            success="#87af5f",
            warning="#d7af5f",
            error="#d7675f",
            dark=True,
            variables={"muted": "#8a8a8a", "rule": "#3a3a3a", "block-cursor-text-style": "none"},
        ),
        Theme(
            name="light",
            primary="#005f87",
            secondary="#005faf",
            accent="#005f87",
            foreground="#262626",
            background="#ffffff",
            surface="#f5f5f5",
            panel="#e4e4e4",
            success="#3f7500",
            warning="#875f00",
            error="#af0000",
            dark=False,
            variables={"muted": "#606060", "rule": "#c6c6c6", "block-cursor-text-style": "none"},
        ),
        Theme(
            name="high-contrast",
            primary="#5fffff",
            secondary="#5fffff",
            accent="#5fffff",
            foreground="#ffffff",
            background="#000000",
            surface="#000000",
            panel="#000000",
            success="#5fff5f",
            warning="#ffff5f",
            error="#ff8787",
            dark=True,
            variables={"muted": "#dadada", "rule": "#b2b2b2", "block-cursor-text-style": "bold"},
        ),
    )
}

_SIXTEEN: Mapping[str, Mapping[str, Any]] = {
    "dark": {"primary": "#55ffff", "success": "#55ff55", "warning": "#ffff55", "error": "#ff5555"},
    "light": {"primary": "#0000aa", "success": "#00aa00", "warning": "#aa5500", "error": "#aa0000"},
}
"""The nearest of sixteen colours to most of the above is a grey."""


def themes(*, few_colours: bool) -> Iterator[Theme]:
    """All themes, for a terminal that has only sixteen colours or for one that has more."""
    for name, theme in THEMES.items():
        yield replace(theme, **_SIXTEEN.get(name, {})) if few_colours else theme


STATES: Mapping[str, tuple[str, str]] = {
    "running": ("●", "$primary"),
    "waiting": ("○", "$muted"),
    "paused": ("‖", "$warning"),
    "parked": ("■", "$warning"),
    "stopped": ("■", "$warning"),
    "lost": ("?", "$error"),
    "failed": ("✗", "$error"),
    "finished": ("✓", "$success"),
    "done": ("✓", "$success"),
    "skipped": ("-", "$muted"),
    "damaged": ("✗", "$error"),
    "reading": ("…", "$muted"),
}
"""Sign and colour of every state of a run or a stage; a state is never told by colour alone."""


def has_few_colours(env: Mapping[str, str] = os.environ) -> bool:
    """Whether a terminal has but sixteen colours. tmux has 256, although the TERM that it sets promises less."""
    return "TMUX" not in env and Console(force_terminal=True, _environ=env).color_system == "standard"


class PlainAscii(LineFilter):
    """Writes every character that is not ASCII as one that is, of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Translate a line."""
        return [
            segment if segment.text.isascii() else Segment(plain(segment.text), segment.style, segment.control)
            for segment in segments
        ]


@lru_cache(4096)
def plain(text: str) -> str:
    """A text in ASCII, as many cells wide as before."""
    return "".join(map(_plain_character, text))


def _plain_character(character: str) -> str:
    code = ord(character)
    if code < 0x80:
        return character
    if character in _SIGNS:
        return _SIGNS[character]
    if 0x2500 <= code <= 0x257F:
        return _box(unicodedata.name(character))
    if 0x2580 <= code <= 0x259F or 0x1FB00 <= code <= 0x1FBFF:
        return "#"
    if 0x2800 <= code <= 0x28FF:
        return " " if code == 0x2800 else "*"
    width = 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
    base = unicodedata.normalize("NFKD", character)[0]
    return base if width == 1 and base.isascii() and base.isprintable() else "?" * width


def _box(name: str) -> str:
    directions = {word for word in ("UP", "DOWN", "LEFT", "RIGHT", "VERTICAL", "HORIZONTAL") if word in name}
    if directions <= {"LEFT", "RIGHT", "HORIZONTAL"}:
        return "-"
    return "|" if directions <= {"UP", "DOWN", "VERTICAL"} else "+"


# ruff: noqa: RUF001
_SIGNS = {
    character: sign
    for characters, sign in (
        ("●•∙", "*"),
        ("○◉", "o"),
        ("■▪█", "#"),
        ("□▫·…", "."),
        ("▶►→›", ">"),
        ("◀◄←‹", "<"),
        ("▲↑", "^"),
        ("▼↓▾", "v"),
        ("–—−▔", "-"),
        ("▁", "_"),
        ("‖", "="),
        ("✓✔", "+"),
        ("✗✘×", "x"),
        ("≈±", "~"),
        ("÷", "/"),
        ("≤", "<"),
        ("≥", ">"),
        ("µμ", "u"),
        ("°", "o"),
        ("‘’", "'"),
        ("“”", '"'),
        ("▏▎▍▌▐▕", "|"),
        ("░▒", ":"),
    )
    for character in characters
}
