"""Commands to a run that goes on: each is obeyed or refused, acknowledged once, and leaves a consistent state."""

import shutil
import threading
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_run import STAGES, TRAINED, read_events

from ups_engine import Observer, load_settings, run_pipeline, start_run
from ups_engine.pipeline import commands as desk_module
from ups_engine.pipeline.commands import Outcome
from ups_engine.runs.commands import COMMAND_KINDS, send
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.hashing import checksum
from ups_engine.runs.requests import await_answer, request
from ups_engine.runs.sidecars import has_result
from ups_engine.runs.state import summarise
from ups_engine.stages.registry import STAGE_OF

SHORT = ("stages.diff_residual.epochs=0", "stages.consistency_distill.epochs=0")


class Sender(Observer):
    """Sends commands to a run when it emits its n-th event of a kind (and stage), from within its own process."""

    def __init__(self, run, script):
        self.run, self.script, self.seen, self.sent = run, script, Counter(), {}

    def event(self, kind, stage, epoch, step, data):
        self.seen[kind] += 1
        self.seen[kind, stage] += 1
        for place in ((kind, self.seen[kind]), (kind, stage, self.seen[kind, stage])):
            for command, name in self.script.get(place, ()):
                identity = send(self.run, command, stage=name)
                self.sent[identity] = command


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Starts tiny runs that share their data, in this process, with an inbox that is looked into at every step."""
    folder = tmp_path_factory.mktemp("desk")
    sizes = ("trajectories=10", "points=32", "frames=6", "t_end=0.2")
    overrides = [*(f"data.generate.{size}" for size in sizes), "latent.dim=4", "training.batch_size=8"]
    overrides += [f"data.root={folder / 'data'}", f"runs.root={folder / 'runs'}", "training.log_interval=0.0001"]

    def start(*more):
        loaded = load_settings(preset="smoke", overrides=[*overrides, *more], folder=folder, env={}, home=folder)
        return start_run(loaded.settings, origins=loaded.origins, argv=["test"], folder=folder / f"run-{next(numbers)}")

    numbers = iter(range(10_000))
    return start


@pytest.fixture(autouse=True)
def _looks_at_every_step(monkeypatch):
    monkeypatch.setattr(desk_module, "POLLS_APART", 0.0)


def answers(run):
    events = [event for event in read_events(run.events) if event["kind"] == "command"]
    return [(event["data"]["command"], event["data"]["outcome"]) for event in events]


def reasons(run):
    return [event["data"].get("reason") for event in read_events(run.events) if event["kind"] == "command"]


def states(run):
    return {stage.name: stage.state for stage in summarise(run).stages}


def weights(run):
    return {path.name: checksum(path.read_bytes()) for path in run.checkpoints.glob("*.safetensors")}


def test_a_run_paused_in_every_stage_ends_with_the_bits_of_one_never_paused(tiny):
    one, other = tiny(), tiny()
    assert run_pipeline(one) is Outcome.FINISHED
    pauses = {("step", stage, 2): [("pause", None)] for stage in TRAINED}
    pauses |= {("validation", "operator", 1): [("pause", None)], ("stage_started", "evaluation", 1): [("pause", None)]}
    script = pauses | {("run_paused", n): [("resume", None)] for n in range(1, 20)}
    sender = Sender(other, script)
    assert run_pipeline(other, observers=[sender]) is Outcome.FINISHED
    assert sender.seen["run_paused"] == sender.seen["run_resumed"] == 7
    assert Counter(answers(other)) == {("pause", "done"): 7, ("resume", "done"): 7}
    assert weights(other) == weights(one)


def test_a_pause_saves_the_state_first_and_counts_for_nothing(tiny):
    run = tiny()
    waiting = threading.Event()

    class Watching(Observer):
        def event(self, kind, stage, epoch, step, data):
            if kind == "step" and stage == "operator" and not waiting.is_set():
                send(run, "pause")
            if kind == "run_paused":
                waiting.set()
                threading.Timer(1.0, send, (run, "resume")).start()

    run_pipeline(run, observers=[Watching()], only=["autoencoder", "operator"])
    kinds = [event["kind"] for event in read_events(run.events) if event["kind"] != "heartbeat"]
    paused = kinds.index("run_paused")
    assert kinds[paused - 2 : paused] == ["command", "checkpoint"]
    at = {event["kind"]: event["time"] for event in read_events(run.events)}  # of the operator, the last stage
    worked = at["stage_finished"] - at["stage_started"] - (at["run_resumed"] - at["run_paused"])
    assert at["run_resumed"] - at["run_paused"] >= 0.9
    finished = [event for event in read_events(run.events) if event["kind"] == "stage_finished"]
    assert finished[1]["data"]["seconds"] == pytest.approx(worked, abs=0.2)
    assert next(stage for stage in summarise(run).stages if stage.name == "operator").seconds == pytest.approx(
        worked, abs=0.2
    )


def test_finishing_keeps_the_stage_s_best_weights_and_goes_on(tiny):
    run = tiny(*SHORT, "stages.operator.epochs=500")
    run_pipeline(run, observers=[Sender(run, {("validation", "operator", 2): [("finish_stage", None)]})])
    assert answers(run) == [("finish_stage", "done")]
    assert states(run)["operator"] == states(run)["evaluation"] == "done"
    end = next(e for e in read_events(run.events) if e["kind"] == "stage_finished" and e["stage"] == "operator")
    assert end["data"]["reason"] == "asked to finish" and has_result(run, "operator_ema")


def test_skipping_the_running_stage_keeps_nothing_of_it_and_goes_on(tiny):
    run = tiny(*SHORT, "stages.steady_prior.epochs=500")
    run_pipeline(run, observers=[Sender(run, {("step", "steady_prior", 2): [("skip_stage", None)]})])
    assert answers(run) == [("skip_stage", "done")]
    assert states(run)["steady_prior"] == "skipped" and states(run)["evaluation"] == "done"
    assert not has_result(run, "steady_prior") and list(run.resume.iterdir()) == []


def test_skipping_a_waiting_stage_leaves_it_out_of_this_and_of_resumed_processes(tiny):
    run = tiny(*SHORT)
    script = {("stage_started", "operator", 1): [("skip_stage", "steady_prior"), ("park", None)]}
    assert run_pipeline(run, observers=[Sender(run, script)]) is Outcome.PARKED
    assert summarise(run).state == "parked" and states(run)["steady_prior"] == "skipped"
    assert run_pipeline(run) is Outcome.FINISHED
    assert states(run)["steady_prior"] == "skipped"


def test_an_evaluation_can_be_skipped_while_it_runs_but_not_finished(tiny):
    run = tiny(*SHORT)
    script = {("stage_started", "evaluation", 1): [("finish_stage", None), ("skip_stage", None)]}
    run_pipeline(run, observers=[Sender(run, script)])
    assert answers(run) == [("finish_stage", "refused"), ("skip_stage", "done")]
    assert states(run)["evaluation"] == "skipped" and not (run.reports / "evaluation.json").exists()


def test_what_a_later_stage_needs_cannot_be_skipped_and_the_refusal_names_it(tiny):
    run = tiny()
    script = {("stage_started", "autoencoder", 1): [("skip_stage", None), ("skip_stage", "operator")]}
    run_pipeline(run, observers=[Sender(run, script)])
    assert answers(run) == [("skip_stage", "refused")] * 2
    assert reasons(run) == [
        "stage operator needs encoder, which the run would not have",
        "stage diff_residual needs operator_ema, which the run would not have",
    ]


def test_a_stage_that_is_started_runs_next_and_one_that_was_skipped_comes_back(tiny):
    run = tiny(*SHORT)
    script = {("stage_started", "autoencoder", 1): [("skip_stage", "steady_prior"), ("start_stage", "steady_prior")]}
    assert run_pipeline(run, observers=[Sender(run, script)]) is Outcome.FINISHED
    order = [event["stage"] for event in read_events(run.events) if event["kind"] == "stage_started"]
    assert order == ["autoencoder", "steady_prior", "operator", "evaluation"]
    assert states(run)["steady_prior"] == "done"


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("autoencoder", "is running already"),
        ("diff_residual", "needs operator_ema"),
        ("nothing", "there is no stage 'nothing'"),
        ("steady_prior", "stages.steady_prior.epochs = 0"),
    ],
)
def test_a_stage_that_cannot_start_is_refused_with_the_reason(tiny, stage, reason):
    run = tiny("stages.steady_prior.epochs=0")
    script = {("stage_started", "autoencoder", 1): [("start_stage", stage), ("stop", None)]}
    assert run_pipeline(run, observers=[Sender(run, script)]) is Outcome.STOPPED
    assert reason in reasons(run)[0]


def test_what_came_while_the_run_was_down_is_answered_when_it_comes_back(tiny):
    run = tiny(*SHORT)
    run_pipeline(run, observers=[Sender(run, {("step", "operator", 1): [("park", None)]})])
    send(run, "skip_stage", stage="steady_prior")
    for kind in ("pause", "stop"):  # meant for the process that is gone
        send(run, kind)
    assert run_pipeline(run) is Outcome.FINISHED
    assert answers(run)[1:] == [("skip_stage", "done"), ("pause", "refused"), ("stop", "refused")]
    assert states(run)["steady_prior"] == "skipped" and list(run.commands.glob("*.json")) == []


def test_a_run_that_is_not_there_refuses_at_once_and_says_why(tiny):
    run = tiny("stages.operator.epochs=0", "stages.steady_prior.epochs=0")
    run_pipeline(run, only=["autoencoder"])
    for kind in ("pause", "resume", "finish_stage", "park", "stop"):
        answer = request(run, kind)
        assert answer.outcome == "refused" and "the run is finished" in answer.reason
        assert await_answer(run, answer) is answer
    answer = request(run, "skip_stage", stage="evaluation")
    assert answer.outcome == "refused" and "ups runs resume" in answer.reason
    assert list(run.commands.iterdir()) == []


def test_a_command_that_arrives_as_the_run_ends_is_refused_not_lost(tiny):
    run = tiny()
    run_pipeline(run, only=["autoencoder"], observers=[Sender(run, {("stage_finished", 1): [("pause", None)]})])
    assert answers(run) == [("pause", "refused")] and reasons(run) == ["the run is finished"]
    assert list(run.commands.glob("*.json")) == []


COMMANDS = st.tuples(st.sampled_from(COMMAND_KINDS), st.sampled_from([None, *STAGES]))
PLACES = st.one_of(
    st.tuples(st.sampled_from(["step", "validation", "stage_started", "stage_finished"]), st.integers(1, 12)),
    st.tuples(st.just("run_paused"), st.integers(1, 3)),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(PLACES, st.lists(COMMANDS, min_size=1, max_size=4), min_size=1, max_size=8))
def test_any_sequence_of_commands_ends_in_a_consistent_state(tiny, script):
    run = tiny(*SHORT)
    try:
        check_any_sequence(run, script)
    finally:
        shutil.rmtree(run.path)


def check_any_sequence(run: RunDirectory, script) -> None:
    """Run with scripted commands, come back until the run is finished, and look at all it left."""
    named = lambda kind, stage: stage or ("operator" if kind == "start_stage" else None)  # noqa: E731
    script = {place: [(kind, named(kind, stage)) for kind, stage in given] for place, given in script.items()}
    script[("run_paused", 1)] = [*script.get(("run_paused", 1), []), ("resume", None)]
    script |= {("run_paused", n): [("resume", None)] for n in range(2, 200)}
    sent = {}
    for again in range(40):
        sender = Sender(run, script if again == 0 else {("run_paused", n): [("resume", None)] for n in range(1, 200)})
        outcome = run_pipeline(run, observers=[sender])
        sent |= sender.sent
        state = summarise(run)
        assert state.state == outcome.value
        if outcome is Outcome.FINISHED:
            break
    assert outcome is Outcome.FINISHED
    events = read_events(run.events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    acknowledged = [event["data"]["id"] for event in events if event["kind"] == "command"]
    assert sorted(acknowledged) == sorted(sent), "every command is answered exactly once"
    assert list(run.commands.glob("*.json")) == []
    for name, state in states(run).items():
        assert state in ("done", "skipped")
        if state == "done":
            assert all(has_result(run, result) for result in STAGE_OF[name].results)
