"""How `ups tui` goes: by a key, by a signal, with its terminal; and what stays behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from terminals import PseudoTerminal


@pytest.fixture
def in_terminal(finished):
    """Starts `ups tui` on the finished run and waits until it shows it."""
    opened = []

    def start(*arguments, **options):
        terminal = PseudoTerminal(finished.terminal.folder, "tui", finished.path, *arguments, **options)
        opened.append(terminal)
        terminal.until(lambda: b"finished" in terminal.written and b"quit" in terminal.written)
        return terminal

    yield start
    for terminal in opened:
        terminal.end()


def test_quitting_says_how_to_come_back(in_terminal, finished):
    terminal = in_terminal("--screen", "log")
    terminal.type("q")
    terminal.until(lambda: terminal.process.poll() is not None)
    terminal.drain(0.2)
    last = terminal.written.decode().replace("\r", "").rstrip("\n").rpartition("\x1b")[2]
    assert f"run is finished; come back with: ups tui {finished.path}" in last
    assert terminal.process.returncode == 0


def test_sigterm_leaves_in_good_order(in_terminal):
    terminal = in_terminal("--screen", "log")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.until(lambda: terminal.process.poll() is not None)
    terminal.drain(0.2)
    assert b"come back with" in terminal.written
    assert b"\x1b[?1049l" in terminal.written  # the terminal is as it was


@pytest.mark.parametrize("controlling", [True, False], ids=["by its signal", "without a signal"])
def test_a_closed_terminal_ends_it_at_once(in_terminal, controlling):
    terminal = in_terminal("--screen", "log", controlling=controlling)
    terminal.close()
    assert terminal.process.wait(5) == 128 + signal.SIGHUP


def test_a_stalled_terminal_does_not_keep_it_from_going(in_terminal):
    """A reader that stopped reading: output is stuck in the kernel, and Textual's loop soon behind it."""
    terminal = in_terminal("--screen", "settings")
    for _ in range(60):
        terminal.type("7")  # nobody reads what each of these draws
        terminal.type("6")
        time.sleep(0.01)
    os.kill(terminal.process.pid, signal.SIGTERM)
    assert terminal.process.wait(10) in (0, 128 + signal.SIGTERM)


def test_commands_under_way_end_with_it_and_detached_ones_do_not():
    code = (
        "import asyncio, subprocess, sys\n"
        "from ups_app.tui import process\n"
        "stays = subprocess.Popen(['sleep', '60'], start_new_session=True,"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "async def go():\n"
        "    task = asyncio.create_task(process.ups('config', 'show'))\n"
        "    while not process.under_way: await asyncio.sleep(0.001)\n"
        "    pid = next(iter(process.under_way))\n"
        "    print(stays.pid, pid, flush=True)\n"
        "    process.end_all()\n"
        "    print((await task).code, flush=True)\n"
        "asyncio.run(go())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    stays, ended, result = map(int, done.stdout.split())
    os.kill(stays, 0)
    os.kill(stays, signal.SIGKILL)
    assert result == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(ended, 0)
