"""`ups` as a user starts it: every command a process of its own, with its own folder, streams and signals.

The processes are forked from one that has imported torch and the engine and done nothing else, so a command costs a
tenth of a second and not three.
"""

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "pytest",
        "ups_app.cli.main",
        "ups_app.cli.progress",
        "ups_app.tui.app",
        "ups_engine.config.layers",
        "ups_engine.pipeline.reopen",
        "torch._dynamo",
        "zarr",
    ]
)


@dataclass(frozen=True)
class Done:
    """A command that has ended: minus the number of the signal that ended it, or its exit code."""

    code: int
    out: str
    err: str


class Command:
    """A command under way."""

    def __init__(
        self,
        folder: Path,
        arguments: tuple[str, ...],
        env: Mapping[str, str],
        largest_file: int | None,
        err: Path | None = None,
    ) -> None:
        self._streams = [folder / f".{stream}-{time.monotonic_ns()}" for stream in ("out", "err")]
        self._own = self._streams[: 1 if err else 2]
        self._streams[1] = err or self._streams[1]
        given = (str(folder), arguments, dict(env), largest_file, *map(str, self._streams))
        self._process = _server.Process(target=_main, args=given, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    @property
    def said(self) -> str:
        """What it has written to stderr so far."""
        return self._streams[1].read_text() if self._streams[1].exists() else ""

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a chance to react."""
        self._process.kill()
        self._process.join()

    def wait(self, timeout: float = 60.0) -> Done:
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"still running after {timeout} s: {self._streams[1].read_text()}")
        out, err = (path.read_text() if path in self._own and path.exists() else "" for path in self._streams)
        for path in self._own:
            path.unlink(missing_ok=True)
        return Done(self._process.exitcode, out, err)


class Terminal:
    """A working folder in which commands are started."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._env = {"HOME": str(folder / "home"), **(env or {})}

    def start(self, *arguments: object, largest_file: int | None = None, err: Path | None = None) -> Command:
        """Start a command.

        Args:
            arguments: what follows `ups`.
            largest_file: on a disk where no file may outgrow so many bytes.
            err: where its stderr goes, such as a terminal; whoever gives that reads it.
        """
        return Command(self.folder, tuple(map(str, arguments)), self._env, largest_file, err)

    def run(self, *arguments: object, largest_file: int | None = None) -> Done:
        return self.start(*arguments, largest_file=largest_file).wait()


def fork(target: Callable[..., object], *arguments: object) -> BaseProcess:
    """A process that runs a function of a module and has torch already; it ends with the test's own process."""
    process = _server.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _main(
    folder: str, arguments: tuple[str, ...], env: Mapping[str, str], largest_file: int | None, out: str, err: str
) -> None:
    os.chdir(folder)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that tests run behind may have it ignored
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["ups", *arguments]
    from ups_app.cli.main import main

    main(arguments)
