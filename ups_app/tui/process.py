"""`ups` commands as processes beside the interface: what needs torch or takes long never runs in its own process."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_LONGEST_LINE = 1 << 20  # bytes
_under_way: set[int] = set()
"""Process groups that end with the interface."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> tuple[str, str | None]:
        """Message and hint of its last error, as the command printed them."""
        lines = self.err.rstrip().splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        if not starts:
            return (lines[-1] if lines else f"the command ended with exit code {self.code}"), None
        start = starts[-1]
        hint = lines[start + 1].strip() if len(lines) > start + 1 and lines[start + 1].startswith("  ") else None
        return lines[start].removeprefix("error: "), hint


async def ups(*arguments: str, on_line: Callable[[str], None] | None = None) -> Done:
    """Run `ups ARGUMENTS` in a session of its own, without input, and wait for its end without blocking.

    It ends when the waiting is cancelled, and with the interface; a run that it has detached does not.

    Args:
        arguments: what follows `ups`.
        on_line: gets every line of standard error as it comes.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # a file in the working folder must not pass for a module
        "-m",
        "ups_app",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=_LONGEST_LINE,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert process.stdout is not None and process.stderr is not None
    _under_way.add(process.pid)
    try:
        out, err = await asyncio.gather(process.stdout.read(), _lines(process.stderr, on_line))
        return Done(await process.wait(), out.decode("utf-8", "replace"), err)
    finally:
        _under_way.discard(process.pid)
        if process.returncode is None:
            _end(process.pid)


def end_all() -> None:
    """End the commands under way; safe in a signal handler."""
    for group in tuple(_under_way):
        _end(group)


async def _lines(stream: asyncio.StreamReader, on_line: Callable[[str], None] | None) -> str:
    lines = []
    while line := await stream.readline():
        text = line.decode("utf-8", "replace")
        lines.append(text)
        if on_line is not None:
            on_line(text.rstrip("\n"))
    return "".join(lines)


def _end(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
