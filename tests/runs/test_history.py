import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.event_file import Event
from ups_engine.runs.events import KINDS
from ups_engine.runs.history import History
from ups_engine.runs.state import RunState, StateReader

PLAN = {"stages": [{"name": "autoencoder", "epochs": 2}, {"name": "operator", "epochs": 3}]}


class Story:
    """Tells a run's events to a history and to the state that goes with it."""

    def __init__(self):
        self.history, self.seq = History(), 0
        self.tell("run_started", data=PLAN)

    def tell(self, kind, stage=None, epoch=None, step=None, data=None):
        self.seq += 1
        event = Event(self.seq, 100.0 + self.seq, kind, stage, epoch, step, data or {})
        self.history.add(event)
        return event

    def begin(self, stage, epoch=0, step=0):
        self.tell("stage_started", stage, epoch, step, {"epochs": 3})

    def epoch(self, stage, number, steps=10):
        for step in range(number * steps + 1, (number + 1) * steps + 1):
            self.tell("step", stage, number, step, {"loss": 1 / step, "lr": 0.1, "components": {"a": 2 / step}})
        end = (number + 1) * steps
        self.tell("validation", stage, number, end, {"score": 1 / end, "best": 1 / end})
        return self.tell("epoch", stage, number, end, {"loss": 1.0, "best": 1 / end, "epoch_seconds": 10.0})

    def view(self, state="running"):
        p = self.history
        stages = p.stages(in_progress=True)
        return self.history.view(
            1,
            RunState(
                run="one",
                directory=Path("one"),
                state=state,
                stage=p.current_stage,
                stages=stages,
                planned=p.planned,
                results=frozenset(p.results),
                last_event_seq=p.last_seq,
                lease=None,
                created=0.0,
                silence=0.0,
                last_heartbeat=p.last_heartbeat,
                error=None,
            ),
        )


@pytest.fixture
def story():
    return Story()


def steps(curve):
    return curve.steps.tolist()


def test_a_view_holds_what_a_stage_has_told(story):
    story.begin("autoencoder")
    story.epoch("autoencoder", 0)
    evaluation = story.tell("evaluation", "evaluation", data={"selected": "operator"})
    story.tell("heartbeat", data={"ram_bytes": 5})
    view = story.view()
    curves = view.curves["autoencoder"]
    assert steps(curves.loss) == list(range(1, 11)) and curves.loss.values[-1] == 0.1
    assert (steps(curves.validation), curves.validation.values.tolist()) == ([10], [0.1])
    assert steps(curves.components["a"]) == list(range(1, 11))
    assert (view.last_step.step, view.evaluation) == (10, evaluation)
    assert view.vitals == {"ram_bytes": 5}
    assert [event.kind for event in view.recent] == [
        "run_started",
        "stage_started",
        "validation",
        "epoch",
        "evaluation",
    ]


def test_time_left_is_told_while_the_run_goes_on_and_only_then(story):
    story.begin("autoencoder")
    story.epoch("autoencoder", 0)
    assert (story.view().eta.stage, story.view().eta.run) == (20.0, 50.0)
    assert story.view("paused").eta == story.view().eta
    assert story.view("lost").eta.run is None and story.view("parked").eta.stage is None


def test_what_is_done_again_is_taken_back(story):
    story.begin("autoencoder")
    story.epoch("autoencoder", 0)
    story.tell("stage_finished", "autoencoder", data={"best": 0.1, "seconds": 1})
    story.begin("operator")
    story.epoch("operator", 0)
    story.epoch("operator", 1)
    story.tell("run_resumed", data={"after": "restart", "stage": "operator", "epoch": 1, "step": 13})
    view = story.view()
    assert steps(view.curves["operator"].loss) == list(range(1, 14))
    assert steps(view.curves["operator"].validation) == [10]
    assert len(view.curves["autoencoder"].loss.steps) == 10  # was done and stays so
    assert view.last_step is None
    story.begin("operator", 1, 13)
    story.tell("step", "operator", 1, 14, {"loss": 7.0})
    assert story.view().curves["operator"].loss.values[-2:].tolist() == [1 / 13, 7.0]


def test_a_stage_whose_state_was_lost_begins_with_an_empty_curve(story):
    story.begin("operator")
    story.epoch("operator", 0)
    story.tell("run_resumed", data={"after": "restart", "stage": None, "epoch": None, "step": None})
    assert steps(story.view().curves["operator"].loss) == []
    story.begin("operator")
    story.epoch("operator", 0)
    story.tell("stage_finished", "operator", data={"best": 0.1, "seconds": 1})
    story.begin("operator")  # asked for once more
    assert steps(story.view().curves["operator"].loss) == []


def test_a_pause_takes_nothing_back(story):
    story.begin("operator")
    story.epoch("operator", 0)
    story.tell("run_paused", "operator")
    before = story.view("paused").curves["operator"]
    story.tell("run_resumed", data={"after": "pause", "stage": "operator", "epoch": 1, "step": 10})
    view = story.view()
    assert steps(view.curves["operator"].loss) == steps(before.loss) == list(range(1, 11))
    assert view.last_step.step == 10


def test_epochs_shorter_than_the_interval_of_steps_draw_their_mean(story):
    story.begin("operator")
    for number in range(3):
        story.tell("epoch", "operator", number, (number + 1) * 4, {"loss": 0.5, "components": {"a": 0.1}})
    curves = story.view().curves["operator"]
    assert steps(curves.loss) == steps(curves.components["a"]) == [4, 8, 12]


def test_memory_is_bounded(story):
    story.begin("operator")
    for number in range(300):
        story.tell("warning", "operator", data={"message": str(number)})
    view = story.view()
    assert [event.data["message"] for event in view.warnings] == [str(number) for number in range(250, 300)]
    assert len(view.recent) == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers(-2, 9) | JSON
STAGES = st.lists(st.fixed_dictionaries({"name": st.just("operator") | JSON, "epochs": NUMBERS}), max_size=2)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "stages": STAGES | JSON,
        "stage": st.just("operator") | JSON,
        **dict.fromkeys(("epoch", "step", "epochs", "loss", "epoch_seconds", "seconds", "epoch_steps"), NUMBERS),
        **dict.fromkeys(("score", "best", "after", "error", "components"), NUMBERS),
    },
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return RunDirectory.create(root, "one", settings_toml="", origins={}, argv=["ups"], task="burgers1d")


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(sorted(KINDS)),
            st.sampled_from(["operator", None]) | JSON,
            st.integers(0, 5) | JSON,
            st.integers(0, 50) | JSON,
            DATA | JSON,
        ),
        max_size=12,
    )
)
def test_events_of_any_shape_break_nothing(shared, events):
    lines = [
        {"seq": seq, "time": float(seq), "kind": kind, "stage": stage, "epoch": epoch, "step": step, "data": data}
        for seq, (kind, stage, epoch, step, data) in enumerate(events, 1)
    ]
    good = {"seq": len(lines) + 1, "time": 99.0, "kind": "warning", "stage": None, "epoch": None, "step": None}
    lines.append({**good, "data": {"message": "after all that"}})
    shared.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    history = History()
    view = history.view(1, StateReader(shared, history, clock=lambda: 100.0).poll())
    assert view.warnings[-1].data == {"message": "after all that"}
    for curves in view.curves.values():
        for curve in (curves.loss, curves.validation, curves.lr, *curves.components.values()):
            assert np.isfinite(curve.values).all() and (np.diff(curve.steps) > 0).all()
