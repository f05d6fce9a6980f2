"""What a run said, as it grows."""

import pytest
from pilots import goes_to, keys_of, make_app, piloted, text_of, until
from recorded_runs import say
from textual.widgets import Log

from ups_app.tui.log_tail import LogTail
from ups_app.wording import event_line, printable
from ups_engine.runs.event_file import Event


@pytest.fixture
def logged(copied):
    copied.directory.log.write_text("".join(f"line {number}\n" for number in range(100)))
    return copied


async def test_the_log_is_followed_and_held(logged):
    app = make_app(logged.path, logged.directory, screen="log")
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled and "line 99" in text_of(app))
        assert "line 10\n" not in text_of(app)
        with logged.directory.log.open("a") as file:
            file.write("and one more\ntorn")
        await until(pilot, lambda: "and one more" in text_of(app))
        assert "torn" not in text_of(app)
        await pilot.press("f")
        assert "f follow" in keys_of(app)
        with logged.directory.log.open("a") as file:
            file.write(" no longer\n" + "unseen\n" * 50)
        await until(pilot, lambda: "152 lines" in text_of(app))
        assert "and one more" in text_of(app)
        await pilot.press("f")
        await until(pilot, lambda: "unseen" in text_of(app))


async def test_lines_are_filtered_as_one_types(logged):
    app = make_app(logged.path, logged.directory, screen="log")
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        await pilot.press("slash", *"LINE 7")
        await until(pilot, lambda: "11 lines" in text_of(app))
        assert "line 8" not in text_of(app).split("11 lines")[1]
        await pilot.press("enter")
        assert app.focused is app.screen.query_one(Log)
        await pilot.press("y")
        assert app.clipboard.splitlines() == ["line 7", *(f"line 7{digit}" for digit in range(10))]
        await pilot.press("slash", "escape")
        await until(pilot, lambda: "100 lines" in text_of(app))


async def test_events_are_a_key_away_and_come_first_without_a_log(finished, logged):
    say(logged.directory, "warning", message="here alone")
    app = make_app(logged.path, logged.directory, screen="log")
    async with piloted(app, size=(120, 30)) as pilot:
        await until(pilot, lambda: app.screen.settled)
        await pilot.press("t")
        await until(pilot, lambda: "run_finished" in text_of(app) and "here alone" in text_of(app))
        assert "t log.txt" in keys_of(app)
        assert "heartbeat " not in text_of(app)
        app.follow(finished.directory)
        await until(pilot, lambda: "run_finished" in text_of(app) and "here alone" not in text_of(app))
        assert "events" in text_of(app)
        await goes_to(pilot, "6", "settings")


def test_the_tail_of_a_file_of_any_size(tmp_path):
    path = tmp_path / "log.txt"
    tail = LogTail(path)
    tail.poll()
    assert not tail.lines
    path.write_bytes(b"x" * 200 + b"\n" + b"".join(b"%07d\n" % n for n in range(400_000)))  # 3.2 MB
    tail.poll()
    assert tail.lines[-1] == "0399999"
    assert len(tail.lines) == 5000
    with path.open("ab") as file:
        file.write("torn é"[:-1].encode() + "é".encode()[:1])
        file.flush()
        tail.poll()
        assert tail.lines[-1] == "0399999"
        file.write("é".encode()[1:] + b" whole\n")
        file.flush()
        tail.poll()
        assert list(tail.lines)[-2:] == ["0399999", "torn é whole"]
    path.write_text("begun anew\n")
    tail.poll()
    assert list(tail.lines) == ["begun anew"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("10%\r50%\r100%", "100%"),
        ("100%\r", "100%"),
        ("\x1b[31merror:\x1b[0m bad", "error: bad"),
        ("a\tb", "a       b"),
        ("bell\x07", "bell\\x07"),
    ],
)
def test_lines_look_as_a_terminal_would_have_left_them(line, shown):
    assert printable(line) == shown


def test_an_event_is_one_line(monkeypatch):
    event = Event(7, 0.0, "validation", "operator", 3, 40, {"score": 0.0123456, "why": "x", "metrics": {"a": 1}})
    assert event_line(event)[8:] == '  validation      operator epoch 3 step 40  score=0.01235 why=x metrics={"a": 1}'
