"""`ups tui` in a pseudo-terminal, as a user has it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path


class PseudoTerminal:
    """A command in a terminal of its own; what it wrote is read in the background of `until` and `drain`.

    Args:
        folder: working folder of the command.
        arguments: what follows `ups`.
        controlling: whether the terminal controls the process and so sends it SIGHUP when it closes.
        env: over the environment.
        before: shell words in front of the command, such as `nohup`'s trap.
    """

    def __init__(self, folder: Path, *arguments: object, controlling=True, env=None, size=(80, 24)) -> None:
        self._master, slave = pty.openpty()
        self.resize(*size)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ups_app", *map(str, arguments)],
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if controlling else None,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": "", **(env or {})},
        )
        os.close(slave)
        self.written = b""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def drain(self, seconds: float) -> bytes:
        """Read for so long; returns what came."""
        begin, end = len(self.written), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self._read(left):
            pass
        return self.written[begin:]

    def until(self, condition: Callable[[], object], timeout: float = 30.0) -> None:
        """Read until something holds."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(self.written[-2000:].decode("utf-8", "replace"))
            if not self._read(0.05) and self.process.poll() is not None and not condition():
                raise AssertionError(f"ended with {self.process.returncode}: {self.written[-2000:]!r}")

    def close(self) -> None:
        """Close the terminal, as a lost connection does."""
        os.close(self._master)
        self._master = -1

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._master >= 0:
            self.close()

    def _read(self, timeout: float) -> bool:
        """Read what is there; False at the end."""
        if not select.select([self._master], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # nobody has the other end any more
            return False
        self.written += data
        return bool(data)
