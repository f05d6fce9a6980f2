"""`ups` commands as processes beside the interface: what needs torch or takes long never runs in its own process."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

under_way: set[int] = set()
"""Process groups that end with the interface."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> list[str]:
        """Message of its last error and, where there is one, the hint, as the command printed them."""
        lines = self.err.rstrip().splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        if not starts:
            return lines[-1:] or [f"the command ended with exit code {self.code}"]
        message, *after = lines[starts[-1] :]
        return [message.removeprefix("error: "), *(line.strip() for line in after[:1] if line.startswith("  "))]


async def ups(*arguments: str, on_line: Callable[[str], None] | None = None) -> Done:
    """Run `ups ARGUMENTS` in a session of its own, without input, and wait for its end without blocking.

    It ends when the waiting is cancelled, and with the interface; a run that it has detached does not.

    Args:
        arguments: what follows `ups`.
        on_line: gets every line of standard error as it comes.
    """
    transport, listener = await asyncio.get_running_loop().subprocess_exec(
        lambda: _Listener(on_line),
        sys.executable,
        "-P",  # a file in the working folder must not pass for a module
        "-m",
        "ups_app",
        *arguments,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    group = transport.get_pid()
    under_way.add(group)
    try:
        await listener.ended
        return Done(transport.get_returncode() or 0, listener.text(1), listener.text(2))
    finally:
        under_way.discard(group)
        if transport.get_returncode() is None:
            _end(group)
        transport.close()


def end_all() -> None:
    """End the commands under way; safe in a signal handler."""
    for group in tuple(under_way):
        _end(group)


class _Listener(asyncio.SubprocessProtocol):
    """Keeps what a command writes, and tells the lines of its standard error."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._written = {1: bytearray(), 2: bytearray()}
        self._on_line = on_line
        self._told = 0

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._written[fd] += data
        if fd == 2 and self._on_line is not None and b"\n" in data:
            end = self._written[2].rindex(b"\n")
            whole = self._written[2][self._told : end]
            self._told = end + 1
            for line in whole.decode("utf-8", "replace").split("\n"):
                self._on_line(line)

    def connection_lost(self, problem: Exception | None) -> None:
        """It has exited and closed its streams."""
        if not self.ended.done():
            self.ended.set_result(None)

    def text(self, fd: int) -> str:
        return self._written[fd].decode("utf-8", "replace")


def _end(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
