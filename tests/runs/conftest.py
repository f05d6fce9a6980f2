import os
import resource
import subprocess
import sys
import textwrap
import time

import pytest

from ups_engine.errors import RunError
from ups_engine.runs.directory import RunDirectory


@pytest.fixture
def make_run(tmp_path):
    def make(name=None, root=None, task="burgers1d"):
        return RunDirectory.create(
            root or tmp_path / "runs",
            name,
            settings_toml="seed = 0\n",
            origins={"seed": "settings/default.toml"},
            argv=["ups", "train", "--headless"],
            task=task,
        )

    return make


@pytest.fixture
def run(make_run):
    return make_run("one")


@pytest.fixture
def python():
    """Starts Python code as a process of its own, killed at the end of the test."""
    started = []

    def start(code, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def in_child():
    """Runs a function in a forked child, for which torch is loaded already; gives what it returned, or the signal."""

    def call(function):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            try:
                os.write(writing, str(function()).encode())
            except BaseException as error:
                os.write(writing, repr(error).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            text = answer.read()
        status = os.waitpid(pid, 0)[1]
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else text

    return call


@pytest.fixture
def on_a_full_disk(in_child):
    """Runs a function where no file may grow beyond 5,000 bytes and gives the RunError's two lines."""

    def call(function):
        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
            try:
                return function()
            except RunError as error:
                return f"{error.message}\n{error.hint}"

        return in_child(limited)

    return call


@pytest.fixture
def until():
    """Waits for a condition and gives what it gave."""

    def wait(condition):
        end = time.monotonic() + 20.0
        while not (value := condition()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.002)
        return value

    return wait
