"""SIGTERM and SIGINT as a request to stop: a flag that is looked at between steps, never work inside a handler."""

import signal
import threading
from types import FrameType
from typing import Self


class StopRequest:
    """While entered, the first SIGTERM or SIGINT sets `made`; a second SIGINT interrupts at once.

    Signals reach the main thread only; entered from another thread it installs nothing and is never made.
    """

    def __init__(self) -> None:
        self.made = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.made and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.made = True
