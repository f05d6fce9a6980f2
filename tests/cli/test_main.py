"""The frame of the command line, run as a user runs it: in a process of its own."""

import json
import os
import re
import subprocess
import sys

import pytest
import typer

from ups_app.cli import main as frame
from ups_app.cli import output
from ups_engine.errors import RunError, SettingsError
from ups_engine.telemetry.units import human_bytes

HEAVY = ("torch", "numpy", "h5py", "zarr", "dynaconf", "wandb", "textual", "rich", "matplotlib", "scipy")


def ups(*arguments, env=None):
    return subprocess.run(
        [sys.executable, "-m", "ups_app", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["config", "--help"], ["runs", "--help"], ["tui", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom ups_app.cli.main import main\n"
        f"try: main({arguments})\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"


def test_help_names_every_group_with_one_line_each():
    done = ups("--help", env={"COLUMNS": "80"})
    assert done.returncode == 0
    commands = done.stdout.split("Commands:\n")[1].splitlines()
    for group in ("config", "data", "cache", "runs"):
        assert any(re.fullmatch(rf"  {group} +\S.*\.", line) for line in commands), commands
    assert not any(line.endswith("...") for line in commands)


def test_version_is_that_of_the_distribution_and_nothing_else():
    done = ups("--version")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [["--no-such-option"], ["no-such-command"], ["config", "no-such-command"], ["runs", "show", "a", "b", "c"]],
)
def test_usage_errors_exit_2_with_two_lines_on_stderr(arguments):
    done = ups(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 2
    assert "--help" in done.stderr


def test_no_command_shows_the_help_on_stderr_and_exits_2():
    done = ups()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


def run_with(monkeypatch, capsys, action, arguments=("act",)):
    """Run `main` over an app whose only command, `act`, does `action`; returns exit code, stdout, stderr."""
    app = typer.Typer(rich_markup_mode=None)
    app.callback()(frame.global_options)
    app.command("act")(action)
    monkeypatch.setattr(frame, "app", app)
    with pytest.raises(SystemExit) as end:
        frame.main(arguments)
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def raising(problem):
    def act() -> None:
        raise problem

    return act


def test_an_error_of_ours_becomes_two_lines_and_its_exit_code(monkeypatch, capsys):
    code, out, err = run_with(
        monkeypatch, capsys, raising(SettingsError("unknown key data.pth", "did you mean data.path?"))
    )
    assert (code, out, err) == (2, "", "error: unknown key data.pth\n  did you mean data.path?\n")
    code, _, err = run_with(monkeypatch, capsys, raising(RunError("no run called x")))
    assert (code, err) == (1, "error: no run called x\n")


def test_an_unexpected_error_is_named_and_points_to_debug(monkeypatch, capsys):
    code, out, err = run_with(monkeypatch, capsys, raising(ZeroDivisionError("float division")))
    assert (code, out) == (1, "")
    assert err == "error: ZeroDivisionError: float division\n  run again with --debug for the traceback\n"


@pytest.mark.parametrize("arguments", [("--debug", "act"), ("act", "--debug"), ("act",)])
def test_debug_shows_the_traceback(monkeypatch, capsys, arguments):
    if "--debug" not in arguments:
        monkeypatch.setenv("UPS_DEBUG", "1")
    code, _, err = run_with(monkeypatch, capsys, raising(RunError("no run called x")), arguments)
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("error: no run called x\n")


def test_a_commands_own_exit_code_is_kept(monkeypatch, capsys):
    assert run_with(monkeypatch, capsys, raising(typer.Exit(3)))[0] == 3


def test_interruption_exits_130(monkeypatch, capsys):
    code, _, err = run_with(monkeypatch, capsys, raising(KeyboardInterrupt()))
    assert (code, err) == (130, "error: interrupted\n")


def test_a_closed_pipe_ends_quietly():
    code = (
        "from ups_app.cli import main as frame\nimport typer\n"
        "frame.app = typer.Typer(rich_markup_mode=None)\n"
        "@frame.app.callback()\ndef g() -> None: pass\n"
        "@frame.app.command()\ndef act(lines: int) -> None:\n    for i in range(lines): print('x' * 100)\n"
        "frame.main()"
    )
    for lines in ("1", "100000"):  # the pipe closes at the last flush, and in the middle
        child = subprocess.Popen(
            [sys.executable, "-c", code, "act", lines], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait() == 1


def test_tables_align_numbers_to_the_right_and_escape_control_characters():
    lines = output.table_lines(["name", "epoch", "best"], [["a", 1, 0.0123456], ["long\x1bname", 10, None]])
    assert lines == [
        "name          epoch     best",
        "a                 1  0.01235",
        "long\\x1bname     10        -",
    ]
    assert output.table_lines(["name", "epoch"], []) == ["name  epoch"]


def test_tables_off_a_terminal_carry_no_colour(capsys):
    output.print_table(["name"], [["a"]])
    assert capsys.readouterr().out == "name\na\n"


def test_json_is_strict(capsys):
    output.print_json({"a": float("nan"), "b": [1.5, float("inf")], "c": "é"})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None], "c": "é"}


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1536 * 1024**2, "1.50 GiB"), (2**50 * 250, "250 PiB")],
)
def test_sizes_are_told_in_binary_units(count, text):
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.21, "4.2 s"), (59.97, "1 min 00 s"), (185, "3 min 05 s"), (7380, "2 h 03 min"), (100800, "1 d 04 h")],
)
def test_durations_are_told_in_two_units(seconds, text):
    assert output.human_seconds(seconds) == text
