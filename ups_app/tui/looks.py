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

_PARTS = ("primary", "secondary", "foreground", "background", "surface", "panel", "success", "warning", "error")


def _theme(name: str, colours: str, muted: str, rule: str, *, dark: bool = True, cursor: str = "none") -> Theme:
    """A theme of the colours of `_PARTS`, one after the other."""
    parts: dict[str, Any] = dict(zip(_PARTS, colours.split(), strict=True))
    variables = {"muted": muted, "rule": rule, "block-cursor-text-style": cursor}
    return Theme(name=name, **parts, accent=parts["primary"], dark=dark, variables=variables)


# Colours are those of the 256-colour palette, so that a terminal without true colour shows the very same.
_DARK = "#5fafd7 #87afd7 #d0d0d0 #121212 #1c1c1c #262626 #87af5f #d7af5f #d7675f"
_LIGHT = "#005f87 #005faf #262626 #ffffff #f5f5f5 #e4e4e4 #3f7500 #875f00 #af0000"
_CONTRAST = "#5fffff #5fffff #ffffff #000000 #000000 #000000 #5fff5f #ffff5f #ff8787"
THEMES: Mapping[str, Theme] = {
    theme.name: theme
    for theme in (
        _theme("dark", _DARK, "#8a8a8a", "#3a3a3a"),
        _theme("light", _LIGHT, "#606060", "#c6c6c6", dark=False),
        _theme("high-contrast", _CONTRAST, "#dadada", "#b2b2b2", cursor="bold"),
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


_SIGNS = dict(
    zip(
        "●•∙○◉■▪█□▫·…▶►→›◀◄←‹▲↑▼↓▾–—−▔▁‖✓✔✗✘×≈±÷≤≥µμ°‘’“”▏▎▍▌▐▕░▒",  # noqa: RUF001
        "***oo###....>>>><<<<^^vvv----_=++xxx~~/<>uuo''\"\"||||||::",
        strict=True,
    )
)
