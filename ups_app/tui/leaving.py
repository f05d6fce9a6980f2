"""How the interface goes when its terminal goes, or when it is asked to: at once, and never spinning."""

import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from ups_app.tui import process

_GRACE = 2.0  # seconds for an orderly end; a terminal that takes no output would hold it up for ever


@contextmanager
def ending_with_the_terminal(leave: Callable[[], object]) -> Iterator[None]:
    """Inside the block, SIGHUP or a closed terminal end this process, and SIGTERM and SIGINT leave in good order.

    A closed terminal reads as an endless stream of nothing and takes no output, so that nothing orderly is left to
    do. Textual's loop may be waiting for it at that moment: signal handlers and a thread of its own do not.

    Args:
        leave: begins the orderly end; called from a signal handler.
    """
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def hang_up(number: int = signal.SIGHUP, frame: FrameType | None = None) -> None:
        process.end_all()
        os._exit(128 + signal.SIGHUP)

    def asked_to(number: int, frame: FrameType | None) -> None:
        process.end_all()
        timer = threading.Timer(_GRACE, _give_up, (terminal, before, number))
        timer.daemon = True
        timer.start()
        leave()

    handlers = {signal.SIGHUP: hang_up, signal.SIGTERM: asked_to, signal.SIGINT: asked_to}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    threading.Thread(target=_await_hang_up, args=(terminal, hang_up), name="terminal", daemon=True).start()
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _await_hang_up(terminal: int, then: Callable[[], None]) -> None:
    """Sleep until the terminal is closed, which sends no signal to a process that it does not control."""
    watch = select.poll()
    watch.register(terminal, 0)  # hang-ups are always reported
    watch.poll()
    then()


def _give_up(terminal: int, before: list[Any], number: int) -> None:
    with suppress(termios.error):
        termios.tcsetattr(terminal, termios.TCSANOW, before)
    os._exit(128 + number)
