"""What a run in the foreground prints between its epochs, and how it says where it goes on."""

import pytest

from ups_app.cli import progress as module
from ups_app.cli.progress import Lines, LiveBar, choose_observer


@pytest.fixture
def said(capsys):
    def lines():
        return [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]

    return lines


def test_steps_and_slow_work_are_told_once_in_an_interval(monkeypatch, said):
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    lines = Lines(10.0)
    lines.event("stage_started", "operator", 0, 0, {"epochs": 5})
    for step in range(40):
        now += 1.0
        lines.event("step", "operator", 2, step, {"loss": 0.25, "lr": 1e-3, "throughput": 1234.5})
    assert said() == ["operator: 5 epochs"] + [
        f"operator: epoch 3/5 step {step}  loss 0.25  lr 0.001  1,234 samples/s" for step in (9, 19, 29, 39)
    ]
    now += 5.0
    lines.progress("encoding", 3, 9)
    now += 6.0
    lines.progress("encoding", 7, 9)
    assert said() == ["encoding: 7/9"]


def test_an_epoch_tells_its_score_beside_the_best_and_how_long_the_stage_may_take(said):
    lines = Lines()
    lines.event("stage_started", "operator", 3, 30, {"epochs": 10})
    lines.event("validation", "operator", 3, 40, {"score": 0.5, "best": 0.25})
    lines.event("epoch", "operator", 3, 40, {"loss": 2.0, "best": 0.25, "lr": 0.1, "seconds": 80.0})
    lines.event("epoch", "operator", 4, 50, {"loss": None, "best": 0.25, "seconds": 100.0})
    assert said() == [
        "operator: 10 epochs, going on in epoch 4 after step 30",
        "operator: epoch 4/10  loss 2  val error 0.5 (best 0.25)  2 min 00 s left  lr 0.1",
        "operator: epoch 5/10  loss -  1 min 40 s left",
    ]


def test_warnings_skips_and_early_ends_say_why(said):
    lines = Lines()
    lines.event("warning", "operator", None, None, {"message": "the loss was not finite"})
    lines.event("stage_skipped", "operator", None, None, {"reason": "left out with --skip"})
    finished = {"best": 0.125, "seconds": 61.0, "reason": "no better validation for 3 epochs"}
    lines.event("stage_finished", "steady_prior", None, None, finished)
    assert said() == [
        "warning: the loss was not finite",
        "operator: skipped, left out with --skip",
        "steady_prior: done in 1 min 01 s, best val error 0.125; no better validation for 3 epochs",
    ]


def test_an_interval_of_nothing_tells_every_step_and_where_it_is_in_its_epoch(said):
    lines = Lines(0.0)
    lines.event("stage_started", "operator", 0, 0, {"epochs": 5})
    for step in (24, 25):
        lines.event("step", "operator", 1, step, {"loss": 0.5, "epoch_steps": 20})
    assert said()[1:] == [f"operator: epoch 2/5 step {step}/20  loss 0.5" for step in (4, 5)]


def test_commands_and_pauses_are_told(said):
    lines = Lines()
    lines.event("command", None, None, None, {"id": "1", "command": "pause", "outcome": "done"})
    lines.event("run_paused", "operator", 0, 7, {})
    lines.event("run_resumed", "operator", 0, 7, {"after": "pause"})
    refused = {"id": "2", "command": "skip_stage", "stage": "operator", "outcome": "refused", "reason": "it is needed"}
    lines.event("command", None, None, None, refused)
    assert said() == [
        "asked to pause: done",
        "paused",
        "going on after the pause",
        "asked to skip stage operator: refused, it is needed",
    ]


def test_quiet_tells_warnings_only(said):
    lines = choose_observer(plain=False, quiet=True, interval=0.0)
    with lines:
        lines.notice("a sentence")
        lines.progress("encoding", 1, 2)
        lines.event("stage_started", "operator", 0, 0, {"epochs": 5})
        lines.event("step", "operator", 0, 1, {"loss": 1.0})
        lines.event("warning", "operator", None, None, {"message": "hot"})
    assert said() == ["warning: hot"]


@pytest.mark.parametrize(
    ("terminal", "term", "plain", "quiet", "kind"),
    [
        (True, "xterm", False, False, LiveBar),
        (True, "screen", False, False, LiveBar),
        (True, "dumb", False, False, Lines),
        (True, "xterm", True, False, Lines),
        (False, "xterm", False, False, Lines),
        (True, "xterm", False, True, Lines),
    ],
)
def test_a_bar_is_for_terminals_that_can_show_one(monkeypatch, terminal, term, plain, quiet, kind):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", term)
    assert type(choose_observer(plain=plain, quiet=quiet, interval=10.0)) is kind


@pytest.fixture
def drawn(monkeypatch, capsys):
    """Runs a function on a terminal of some width with a clock that a test turns, and gives every text drawn."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    def draw(columns, use):
        monkeypatch.setenv("COLUMNS", str(columns))
        clock = [100.0]
        monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
        with LiveBar() as bar:
            use(bar, clock)
        text = capsys.readouterr().err
        assert text.endswith("\r\033[K")  # nothing stays behind the run
        return [part.removesuffix("\033[K") for part in text.split("\r") if part and part != "\033[K"]

    return draw


def one_epoch(bar, clock):
    bar.event("stage_started", "operator", 0, 0, {"epochs": 10})
    bar.event("validation", "operator", 0, 0, {"score": 0.5, "best": 0.5})
    for step in range(1, 51):
        clock[0] += 0.1
        bar.event("step", "operator", 0, step, {"loss": 0.25, "throughput": 1234.5, "epoch_steps": 100})


def test_the_bar_shows_share_loss_score_time_left_and_speed(drawn):
    *_, last = drawn(100, one_epoch)
    assert last == f"operator 1/10 {'━' * 1}{'─' * 23}   5 %  loss 0.25  val 0.5  1 min 35 s left  1,234 samples/s"


def test_the_bar_is_drawn_five_times_a_second_at_most(drawn):
    first, *bars = drawn(100, one_epoch)
    assert "operator: 10 epochs" in first and 15 <= len(bars) <= 26


@pytest.mark.parametrize("columns", [10, 24, 30, 44, 60, 80, 200])
def test_the_bar_fits_any_terminal_and_drops_the_least_first(drawn, columns):
    _, *bars = drawn(columns, one_epoch)
    assert bars and all(len(bar) < columns for bar in bars)
    shown = [word in bars[-1] for word in ("5 %", "loss", "val", "left", "samples/s")]
    assert shown == sorted(shown, reverse=True)


def test_a_pause_is_told_and_does_not_count_into_the_time_left(drawn):
    def paused(bar, clock):
        one_epoch(bar, clock)
        bar.event("run_paused", "operator", 0, 50, {})
        clock[0] += 3600
        bar.event("run_resumed", "operator", 0, 50, {"after": "pause"})
        for step in range(51, 101):
            clock[0] += 0.1
            bar.event("step", "operator", 0, step, {"loss": 0.25, "epoch_steps": 100})

    texts = drawn(100, paused)
    assert any(text.endswith(" paused\n") for text in texts) and "1 min 30 s left" in texts[-1]


def test_slow_work_has_a_bar_too(drawn):
    (text,) = drawn(60, lambda bar, clock: bar.progress("encoding train", 3, 4))
    assert text == f"encoding train: 3/4 {'━' * 18}{'─' * 6}  75 %"


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"LC_ALL": "", "LC_CTYPE": "", "LANG": "POSIX"}])
def test_the_bar_is_plain_ascii_where_the_locale_is(drawn, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (text,) = drawn(60, lambda bar, clock: bar.progress("encoding train", 1, 4))
    assert text == f"encoding train: 1/4 {'#' * 6}{'-' * 18}  25 %"
