"""The command `ups tui`: what it refuses, what it follows, pictures, and what it never imports."""

import subprocess
import sys

import pytest

from ups_app.tui.screens import SCREENS


def test_it_needs_a_terminal_and_says_what_does_not(finished):
    done = finished.terminal.run("tui", finished.path)
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: ups tui needs a terminal\n  `ups runs show RUN` tells the same in plain lines\n"


@pytest.mark.parametrize("size", ["120", "0x0", "120x", "9999x10", "-1x20", "abc"])
def test_a_size_that_no_terminal_has_is_refused(finished, size):
    done = finished.terminal.run("tui", finished.path, "--picture", "p.svg", f"--size={size}")
    assert done.code == 2
    assert "columns 20 to 400" in done.err


def test_an_unknown_run_and_a_wrong_key_are_named(finished):
    done = finished.terminal.run("tui", "nothing", "--picture", "p.svg")
    assert done.code == 1
    assert "there is no run nothing" in done.err
    (finished.terminal.folder / "ups.local.toml").write_text("[tui]\nkeys = ['paus=x']\n")
    try:
        done = finished.terminal.run("tui", finished.path, "--picture", "p.svg")
    finally:
        (finished.terminal.folder / "ups.local.toml").unlink()
    assert done.code == 2
    assert "there is no action 'paus'" in done.err
    assert "pause" in done.err


@pytest.mark.parametrize("screen", ["runs", "settings", "log"])
def test_a_picture_needs_no_terminal_and_is_the_same_again(finished, screen):
    folder = finished.terminal.folder
    pictures = []
    for name in ("a.svg", "b.svg"):
        done = finished.terminal.run("tui", finished.path, "--picture", name, "--screen", screen, "--size", "100x30")
        assert (done.code, done.out, done.err) == (0, "", f"wrote {name}\n")
        pictures.append((folder / name).read_text("utf-8"))
    assert pictures[0] == pictures[1]
    assert "<svg" in pictures[0]
    assert "finished" in pictures[0]


def test_a_picture_that_cannot_be_written_is_an_error_of_two_lines(finished):
    done = finished.terminal.run("tui", finished.path, "--picture", "no/such/folder/p.svg", "--screen", "settings")
    assert done.code == 1
    assert len(done.err.splitlines()) == 2
    assert "Traceback" not in done.err


def test_the_interface_never_imports_torch(finished):
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from ups_app.tui.app import UpsApp\n"
        "from ups_engine.config.layers import load_settings\n"
        "from ups_engine.runs.directory import RunDirectory\n"
        "async def main():\n"
        "    app = UpsApp(load_settings(), RunDirectory(Path(sys.argv[1])))\n"
        "    async with app.run_test(size=(120, 40)) as pilot:\n"
        f"        for name in {SCREENS}:\n"
        "            app.switch_mode(name)\n"
        "            while app.current_mode != name or app.view is None: await asyncio.sleep(0.01)\n"
        "            await pilot.pause()\n"
        "            app.export_screenshot()\n"
        "asyncio.run(main())\n"
        "print([name for name in ('torch', 'wandb', 'matplotlib') if name in sys.modules])"
    )
    folder = finished.terminal.folder
    command = [sys.executable, "-c", code, str(finished.path)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
