"""The dashboard on real run folders: what is shown of every state, at every size, and what its keys do."""

import shutil
import time

import pytest
from pilots import goes_to, keys_of, make_app, piloted, text_of, until
from recorded_runs import last_event

from ups_app.tui.widgets.loss_chart import LossChart
from ups_app.tui.widgets.stage_track import StageTrack
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.events import EventWriter

PLAN = [{"name": "autoencoder", "epochs": 1}, {"name": "operator", "epochs": 12}, {"name": "evaluation", "epochs": 1}]
GIB = 2**30
GPUS = [
    {
        "index": index,
        "name": "NVIDIA H200",
        "used_bytes": 34 * GIB,
        "total_bytes": 140 * GIB,
        "run_bytes": 12 * GIB,
        "utilisation": 97.0,
        "temperature": 61.0,
        "power": 431.0,
    }
    for index in (0, 1)
]
VITALS = {
    "ram_bytes": 3 * GIB,
    "ram_available_bytes": 20 * GIB,
    "ram_total_bytes": 64 * GIB,
    "ram_limit": "host memory",
    "cpu_percent": 198.0,
    "gpu": [],
    "throughput": 1234.0,
    "cache": {"residency": "ram", "reason": "it fits", "complete": 256, "samples": 320, "bytes": 12 * 2**20},
}


def tell(run, kind, **fields):
    with EventWriter(run.events) as events:
        events.emit(kind, **fields)


def operator_steps(run, count, *, first=1):
    with EventWriter(run.events) as events:
        for step in range(first, first + count):
            parts = {"L_forward": 0.5 / step, "L_spec": 0.1 / step}
            data = {"loss": 1.0 / step, "lr": 1e-3, "grad_norm": 2.0, "throughput": 1234.0, "components": parts}
            events.emit("step", stage="operator", epoch=step // 10, step=step, data={**data, "epoch_steps": 10})
            time.sleep(0.11)  # the writer lets ten steps a second through


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder of a run in its operator stage; whoever looks within 15 s finds it running."""
    folder = tmp_path_factory.mktemp("begun")
    run = RunDirectory.create(folder, "begun", settings_toml="", origins={}, argv=["ups"], task="burgers1d")
    tell(run, "run_started", data={"stages": PLAN, "device": "cpu"})
    tell(run, "stage_started", stage="autoencoder", data={"epochs": 1})
    tell(run, "stage_finished", stage="autoencoder", data={"best": 0.0012, "seconds": 6.0})
    tell(run, "stage_started", stage="operator", data={"epochs": 12})
    operator_steps(run, 5)
    tell(run, "validation", stage="operator", epoch=0, step=5, data={"score": 0.33, "best": 0.33})
    tell(run, "heartbeat", data=VITALS)
    return run


@pytest.fixture
def running(begun, tmp_path):
    """The same, to be written to, with a fresh sign of life."""
    copy = RunDirectory(tmp_path / "runs" / "begun")
    shutil.copytree(begun.path, copy.path)
    tell(copy, "heartbeat", data=VITALS)
    return copy


def words_of(app):
    """What is on the screen as one line."""
    return " ".join(text_of(app).split())


def legend(app):
    return app.screen.query_one("#chosen", LossChart).lines[0].plain


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (100, 24), (120, 40), (200, 60)])
async def test_a_finished_run_is_all_there_at_every_size(finished, size):
    app = make_app(finished.path.parent, finished.directory)
    async with piloted(app, size) as pilot:
        await until(pilot, lambda: "all stages are through" in text_of(app))
        text = text_of(app)
        for stage in ("autoencoder", "operator", "diff_residual", "consistency_distill", "steady_prior", "evaluation"):
            assert f"✓ {stage}" in text
        assert "no GPU" in text and "RAM" in text and "latents" in text
        assert "raise latent.dim" in text or "evaluation: encoding" in text or size[0] < 100  # its latent is small
        assert ("○ validation" in text) == (size[1] >= 20)
        assert ("gradient norm" in text) == (size == (200, 60))


async def test_a_running_stage_shows_its_figures_its_progress_and_its_curves(running):
    app = make_app(running.path.parent, running)
    async with piloted(app, (120, 40)) as pilot:
        await until(pilot, lambda: legend(app).startswith("operator"))
        text = text_of(app)
        assert "▶● operator" in text and "✓ autoencoder" in text and "○ evaluation" in text
        assert "━ training 0.2   ○ validation 0.33" in text
        figures = "\n".join(line.plain for line in app.screen.query_one("#figures").lines)
        for part in ("loss       0.2", "val        0.33", "best       0.33", "lr         0.001", "samples/s  1,234"):
            assert part in figures
        line = next(line.plain for line in app.screen.query_one(StageTrack).lines if "operator" in line.plain)
        assert "━" not in line and "0/12" in line
        assert "44.0 GiB of 64.0 GiB" in text and "run 3.00 GiB, 20.0 GiB free" in text and "198 %" in text
        assert "256/320 complete, in RAM, 12.0 MiB" in text and "it fits" in text
        tell(running, "step", stage="operator", epoch=5, step=60, data={"loss": 0.01, "epoch_steps": 10})
        await until(pilot, lambda: "0.01" in "".join(line.plain for line in app.screen.query_one("#figures").lines))
        line = next(line.plain for line in app.screen.query_one(StageTrack).lines if "operator" in line.plain)
        assert line.count("━") + 0.5 * line.count("╸") == pytest.approx(
            line.count("·") + 0.5 * line.count("╸"), abs=0.5
        )


async def test_the_highlight_follows_the_run_until_another_stage_is_chosen(running):
    app = make_app(running.path.parent, running)
    async with piloted(app, (80, 24)) as pilot:
        await until(pilot, lambda: legend(app).startswith("operator"))
        assert app.screen.stage() is None
        await pilot.press("left")
        assert app.screen.stage() == "autoencoder" and legend(app).startswith("autoencoder")
        await pilot.press("left", "right_square_bracket")
        assert app.screen.stage() is None and legend(app).startswith("operator")
        await pilot.press("down")
        assert app.screen.stage() == "evaluation" and "no curves" in text_of(app)
        await pilot.click(StageTrack, offset=(8, 0))
        await until(pilot, lambda: app.screen.stage() == "autoencoder")


async def test_a_key_turns_between_the_kinds_of_curves(running):
    app = make_app(running.path.parent, running)
    async with piloted(app, (80, 24)) as pilot:
        await until(pilot, lambda: legend(app).startswith("operator loss"))
        for wanted in (
            "parts of the loss   a L_forward 0.1   b L_spec 0.02",
            "learning rate",
            "gradient",
            "samples per",
        ):
            await pilot.press("c")
            assert legend(app).startswith(f"operator {wanted}")
        await pilot.press("c")
        assert legend(app).startswith("operator loss")
        assert "curve" in keys_of(app) or "pause" in keys_of(app)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_every_gpu_is_shown_with_the_memory_of_this_run_and_of_others(running, size):
    tell(running, "heartbeat", data=VITALS | {"gpu": GPUS})
    app = make_app(running.path.parent, running)
    async with piloted(app, size) as pilot:
        await until(pilot, lambda: "GPU 0" in text_of(app))
        text = text_of(app)
        for part in ("GPU 1", "34.0 GiB of 140 GiB", "run 12.0 GiB", "97 %", "61 °C", "431 W"):
            assert part in text
        if size == (120, 40):
            assert "others 22.0 GiB" in text and text.count("█▒") == 3
        assert "run 3.00 GiB" in text or "3.00 GiB, 20.0 GiB free" in text


async def test_a_gpu_that_tells_nothing_is_shown_all_the_same(running):
    mig = {"index": 0, "name": "MIG", "used_bytes": 5, "total_bytes": 10, "utilisation": None, "power": None}
    tell(running, "heartbeat", data={"ram_bytes": 5 * 2**20, "gpu": [mig]})
    app = make_app(running.path.parent, running)
    async with piloted(app, (120, 40)) as pilot:
        await until(pilot, lambda: "GPU 0 MIG" in text_of(app))
        assert "5 B of 10 B" in text_of(app) and "RAM 5.00 MiB" in text_of(app)


async def test_work_besides_training_is_shown_while_it_goes_on(running):
    tell(running, "heartbeat", data=VITALS | {"activity": {"what": "encoding", "done": 120, "total": 256}})
    app = make_app(running.path.parent, running)
    async with piloted(app, (80, 24)) as pilot:
        await until(pilot, lambda: "encoding" in text_of(app))
        line = app.screen.query_one("#latents").lines[0].plain
        assert line.startswith("encoding ━") and line.endswith(" 120/256")
        tell(running, "heartbeat", data=VITALS)
        await until(pilot, lambda: "256/320 complete" in text_of(app))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_last_warnings_are_shown(running, size):
    for number in range(3):
        tell(running, "warning", stage="operator", data={"message": f"warning number {number}"})
    app = make_app(running.path.parent, running)
    async with piloted(app, size) as pilot:
        await until(pilot, lambda: "operator: warning number 2" in text_of(app))
        assert ("number 1" in text_of(app)) == (size == (120, 40))


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([("run_paused", {})], ("paused", "p goes on", "k saves and frees it")),
        ([("run_finished", {"outcome": "parked"})], ("parked", "GPU and memory are free", "r goes on where it was")),
        ([("run_finished", {"outcome": "stopped"})], ("stopped", "r goes on where it was")),
        (
            [("run_failed", {"error": "row 7 of u holds NaN", "hint": "--set data.exclude=[7]"})],
            ("failed", "row 7 of u holds NaN", "--set data.exclude=[7]", "r tries again"),
        ),
    ],
)
async def test_a_run_that_is_not_running_says_what_to_do_next(running, events, said):
    for kind, data in events:
        tell(running, kind, data=data)
    app = make_app(running.path.parent, running)
    async with piloted(app, (80, 24)) as pilot:
        await until(pilot, lambda: all(part in words_of(app) for part in said), str(said))


async def test_a_lost_run_says_so_and_offers_to_go_on(begun):
    now = last_event(begun)["time"] + 3700
    app = make_app(begun.path.parent, begun, clock=lambda: now)
    async with piloted(app, (80, 24)) as pilot:
        await until(pilot, lambda: "its process is gone, silent for 1:01:40" in text_of(app))
        assert "r goes on from its last save" in words_of(app)


async def test_keys_in_the_banner_are_the_users_and_none_are_offered_read_only(running):
    tell(running, "run_paused")
    app = make_app(running.path.parent, running, settings=['tui.keys=["pause=f5"]'])
    async with piloted(app) as pilot:
        await until(pilot, lambda: "f5 goes on" in text_of(app))
    app = make_app(running.path.parent, running, read_only=True)
    async with piloted(app) as pilot:
        await until(pilot, lambda: "paused" in text_of(app) and "memory kept" in text_of(app))
        assert "goes on" not in text_of(app)


async def test_without_a_run_the_way_to_one_is_told(tmp_path):
    app = make_app(tmp_path)
    async with piloted(app) as pilot:
        await goes_to(pilot, "3", "dashboard")
        await until(
            pilot, lambda: "No run is followed. 1 lists the runs there are, 2 starts a new one." in words_of(app)
        )


async def test_an_old_log_without_the_newer_keys_is_shown(tmp_path):
    run = RunDirectory.create(tmp_path, "old", settings_toml="", origins={}, argv=["ups"], task="burgers1d")
    tell(run, "run_started", data={"stages": PLAN})
    tell(run, "stage_started", stage="operator", data={"epochs": 12})
    tell(run, "step", stage="operator", epoch=0, step=1, data={"loss": None, "lr": 0.1})
    tell(run, "heartbeat", data={"ram_bytes": 2**30, "gpu": []})
    app = make_app(tmp_path, run)
    async with piloted(app, (120, 40)) as pilot:
        await until(pilot, lambda: "RAM 1.00 GiB" in text_of(app))
        assert "no cache yet" in text_of(app) and "nothing to draw yet" in text_of(app)


async def test_a_small_terminal_and_back_again(running):
    app = make_app(running.path.parent, running)
    async with piloted(app, (120, 40)) as pilot:
        await until(pilot, lambda: legend(app).startswith("operator"))
        before = text_of(app)
        for size in ((60, 15), (30, 8), (200, 60)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda size=size: app.size == size and "●" in text_of(app))
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: text_of(app).splitlines()[8] == before.splitlines()[8], "the old layout")


async def test_nothing_is_painted_while_nothing_changes(running, monkeypatch):
    app = make_app(running.path.parent, running)
    async with piloted(app, (120, 40)) as pilot:
        await until(pilot, lambda: legend(app).startswith("operator"))
        await pilot.pause(0.7)
        painted = []
        for kind in (StageTrack, "#figures", "#machine", "#latents"):
            monkeypatch.setattr(app.screen.query_one(kind), "refresh", lambda *a, **k: painted.append(a))
        for _ in range(5):
            app.screen.show(app.view)
        assert painted == []
