"""What a terminal can show, and what its user wants to see."""

import os
from collections.abc import Mapping
from typing import TextIO


def wants_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose user has not asked for plain text."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def shows_unicode(env: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the locale's character set is UTF-8; Python itself writes UTF-8 in the C locale too."""
    named = next((env[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if env.get(name)), "utf8")
    return "utf8" in named.lower().replace("-", "")
