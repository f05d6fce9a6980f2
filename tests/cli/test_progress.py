"""What a run in the foreground prints between its epochs, and how it says where it goes on."""

import pytest

from ups_app.cli import progress
from ups_app.cli.progress import Lines, LiveLine


@pytest.fixture
def said(capsys):
    def lines():
        return [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]

    return lines


def test_steps_and_slow_work_are_told_once_in_ten_seconds(monkeypatch, said):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = Lines()
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
        "operator: epoch 4/10  loss 2  val nRMSE 0.5 (best 0.25)  2 min 00 s left  lr 0.1",
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
        "steady_prior: done in 1 min 01 s, best val nRMSE 0.125; no better validation for 3 epochs",
    ]


def test_the_live_line_is_cut_to_the_terminal_and_cleared_for_what_stays(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    with LiveLine() as live:
        live.event("epoch", "consistency_distill", 0, 5, {"loss": 0.5, "best": None, "lr": 0.001})
        live.notice("a sentence")
    text = capsys.readouterr().err
    drawn, rest = text.split("\033[K", 1)
    assert drawn.startswith("\rconsistency_distill: epoch 1/0") and len(drawn) == 1 + 39
    assert rest.startswith("\r\033[K") and rest.endswith(" a sentence\n\r\033[K")
