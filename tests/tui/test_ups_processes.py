"""`ups` commands beside the interface."""

import asyncio
import os

import pytest

from ups_app.tui import process
from ups_app.tui.process import Done, ups


async def test_data_and_messages_come_apart_and_messages_line_by_line(finished, monkeypatch):
    monkeypatch.chdir(finished.terminal.folder)
    lines = []
    done = await ups("runs", "list", on_line=lines.append)
    assert done.code == 0
    assert "no runs under" in done.err
    assert lines == done.err.splitlines()
    shown = await ups("runs", "show", str(finished.path))
    assert (shown.code, shown.err) == (0, "")
    assert "finished" in shown.out


async def test_an_error_is_told_by_message_and_hint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = await ups("runs", "show", "nothing")
    assert done.code == 1
    message, hint = done.error
    assert message == "there is no run nothing"
    assert "ups train" in hint


@pytest.mark.parametrize(
    ("err", "error"),
    [
        ("", ["the command ended with exit code 9"]),
        ("Killed\n", ["Killed"]),
        ("a notice\nerror: it broke\n  mend it\n", ["it broke", "mend it"]),
        ("error: first\nerror: it broke\n", ["it broke"]),
    ],
)
def test_errors_are_found_among_what_was_said(err, error):
    assert Done(9, "", err).error == error


async def test_a_file_in_the_working_folder_does_not_pass_for_a_module(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('taken in')")
    monkeypatch.chdir(tmp_path)
    assert (await ups("--version")).code == 0


async def test_cancelling_ends_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = asyncio.create_task(ups("config", "show"))
    while not process.under_way:
        await asyncio.sleep(0.001)
    pid = next(iter(process.under_way))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while _lives(pid):
            await asyncio.sleep(0.01)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
