"""How far work outside of training is."""

import sys
import time

from ups_app.cli.output import human_seconds

_LINES_APART = 5.0  # s between lines of progress where they cannot be overwritten
_DRAWS_APART = 0.2  # s between them on a terminal


class Counter:
    """Progress with rate and time left on stderr: one line rewritten on a terminal, a line now and then elsewhere.

    Args:
        what: is counted.
        interval: seconds between lines; None chooses by where they go.
    """

    def __init__(self, what: str, interval: float | None = None) -> None:
        self._what = what
        self._rewrites = interval is None and sys.stderr.isatty()
        self._apart = interval if interval is not None else _DRAWS_APART if self._rewrites else _LINES_APART
        self._begin = self._drawn = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show the count, where the last showing is long enough ago."""
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if now - self._drawn < self._apart:
            return
        self._drawn = now
        rate = (done - self._first) / max(now - self._begin, 1e-9)
        left = f", {human_seconds((total - done) / rate)} left" if rate and done < total else ""
        text = f"{self._what} {done}/{total}, {rate:.3g} a second{left}"
        print(
            f"\r{text}\033[K" if self._rewrites else text,
            end="" if self._rewrites else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        """Clear the line that was rewritten."""
        if self._rewrites:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
