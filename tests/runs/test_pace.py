import pytest

from ups_engine.runs.event_file import Event
from ups_engine.runs.history import Eta, Pace, estimate
from ups_engine.runs.projection import StageState


def stage(name, state, epoch, epochs):
    return StageState(name, state, epoch, epochs, None, 0.0)


def step(time, number, **data):
    return Event(1, time, "step", "operator", None, number, data)


def epoch(number, **data):
    return Event(1, 0.0, "epoch", "operator", number, (number + 1) * 100, data)


def test_before_the_first_epoch_the_steps_tell():
    pace = Pace()
    pace.step(step(50.0, 1, epoch_steps=100))
    now = [stage("operator", "running", 0, 10)]
    assert estimate(now, "operator", {"operator": pace}) == Eta(None, None)
    pace.step(step(60.0, 51, epoch_steps=100))  # 0.2 s a step, 949 to do
    eta = estimate(now, "operator", {"operator": pace})
    assert eta.stage == pytest.approx(949 * 0.2) and eta.run == eta.stage


def test_epochs_tell_by_the_latest_five_and_the_one_under_way_counts_in_part():
    pace = Pace()
    for number in range(10):
        pace.epoch(epoch(number, epoch_seconds=100.0 if number < 5 else 8.0))
    pace.step(step(0.0, 1025))
    assert estimate([stage("operator", "running", 10, 12)], "operator", {"operator": pace}).stage == 8.0 * 1.75


def test_the_run_takes_the_waiting_stages_at_the_mean_pace_of_all_seen():
    first, second = Pace(), Pace()
    for number in range(3):
        first.epoch(epoch(number, epoch_seconds=10.0))
    second.epoch(epoch(0, epoch_seconds=2.0))
    now = [
        stage("autoencoder", "done", 3, 3),
        stage("operator", "running", 1, 5),
        stage("diff_residual", "skipped", 0, 50),
        stage("steady_prior", "waiting", 0, 4),
    ]
    assert estimate(now, "operator", {"autoencoder": first, "operator": second}) == Eta(4 * 2.0, 4 * 2.0 + 4 * 8.0)
    # of a stage that has not shown its own pace yet nothing is told, but it counts for the run
    assert estimate(now, "operator", {"autoencoder": first}) == Eta(None, (4 + 4) * 10.0)


def test_without_any_figure_nothing_is_told():
    assert estimate([stage("operator", "waiting", 0, 5)], None, {}) == Eta(None, None)


def test_logs_of_earlier_versions_have_the_seconds_since_the_stage_began():
    pace = Pace()
    pace.epoch(epoch(0, seconds=4.0))
    pace.epoch(epoch(1, seconds=10.0))
    assert pace.seconds_per_epoch() == (4.0 + 5.0) / 2
    pace.step(step(0.0, 250))
    assert pace.epochs_left(stage("operator", "running", 2, 4)) == 1.5


def test_a_break_is_no_slow_step():
    pace = Pace()
    pace.step(step(0.0, 10, epoch_steps=100))
    pace.break_off()
    pace.step(step(1000.0, 10))
    pace.step(step(1010.0, 20))
    assert pace.seconds_per_epoch() == pytest.approx(100.0)


@pytest.mark.parametrize("seconds", [None, -1.0, 0, "8", True])
def test_figures_that_are_none_are_passed_over(seconds):
    pace = Pace()
    pace.epoch(epoch(0, epoch_seconds=seconds))
    assert pace.seconds_per_epoch() is None
