"""The cache screen over the caches of a real run: its state, deep checks, builds with progress, and cancelling them."""

import asyncio
import os
from functools import partial

import pytest
from pilots import is_there, keys_of, make_app, piloted, text_of, until

from ups_app.cli.counter import Counter
from ups_app.tui import process
from ups_app.tui.screens.cache import CacheScreen
from ups_app.tui.widgets.cache_report import cache_report
from ups_app.tui.widgets.words import bar
from ups_engine.runs.directory import RunDirectory

GIB = 1 << 30
SPLIT = {"name": "train", "samples": 4096, "complete": 4000, "missing": 90, "stale": 0, "corrupt": 6}
REPORT = {
    "splits": [{**SPLIT, "bytes_on_disk": 3 * GIB, "bytes_in_ram": 6 * GIB}],
    "ram": {"available_bytes": 40 * GIB, "limit_source": "cgroup /job (memory.max)", "sufficient": True},
    "gpu": [
        {"index": 0, "name": "NVIDIA H200", "free_bytes": GIB, "total_bytes": 140 * GIB, "sufficient": False},
    ],
    "residency": {"choice": "ram", "reason": "it fits"},
    "ready": False,
    "verdict": "Not ready. train: 90 chunk files are missing; trajectory 3: its checksum fails.",
}


@pytest.fixture
def store(copied, monkeypatch):
    """The folder of the training split's cache, from the run's working folder."""
    monkeypatch.chdir(copied.terminal.folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(copied.terminal.folder / "home"))
    (found,) = (copied.terminal.folder / "data/latent_cache").glob("burgers1d-train-*.zarr")
    return found


async def opened(pilot) -> CacheScreen:
    pilot.app.switch_mode("cache")
    await until(pilot, lambda: is_there(pilot.app, "cache"))
    return pilot.app.screen


def page(screen):
    return "\n".join(line.plain for line in screen.query_one("#report").lines)


def work(screen):
    return screen.query_one("#work").content.plain


def running(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def test_what_is_lost_is_shown_encoded_again_and_what_was_altered_is_found_by_the_deep_check(copied, store):
    (store / "latents/c.2.0.0.0").unlink()
    async with piloted(make_app(copied.terminal.folder, copied.directory)) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: "✗ Not ready" in page(screen), timeout=60)
        await until(pilot, lambda: "checked at" in work(screen))
        train = next(line.split() for line in page(screen).splitlines() if line.startswith("train "))
        assert train[:6] == ["train", "8", "7", "1", "0", "0"]
        assert f"caches of the encoder of run {copied.path.name}" in text_of(pilot.app)
        await pilot.press("b")
        await until(pilot, lambda: "✓ Ready" in page(screen), timeout=60)
        await until(pilot, lambda: work(screen).startswith("built; checked at"))
        chunk = store / "latents/c.5.0.0.0"
        chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])
        await pilot.press("d")
        await until(pilot, lambda: "its checksum fails" in page(screen), timeout=60)
        assert "every checksum verified at" in work(screen)
        await pilot.press("r")
        await until(pilot, lambda: work(screen).startswith("repaired; checked at"), timeout=60)
        assert "✓ Ready" in page(screen)
        assert screen.copyable() == f"ups cache check {copied.path.name}"


async def test_a_check_is_cancelled_with_its_process(copied, store, monkeypatch):
    app = make_app(copied.terminal.folder, copied.directory)
    monkeypatch.setattr(app, "ups", process.ups)
    async with piloted(app) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: process.under_way)
        (group,) = process.under_way
        await until(pilot, lambda: "esc cancel" in keys_of(pilot.app) and "build" not in keys_of(pilot.app))
        await pilot.press("escape")
        await until(pilot, lambda: not running(group), "the end of the process")
        assert work(screen) == "cancelled checking the cache" and not process.under_way
        assert "c check" in keys_of(pilot.app) and "cancel" not in keys_of(pilot.app)


async def test_a_run_without_encoder_says_so(tmp_path, monkeypatch, copied):
    monkeypatch.chdir(tmp_path)
    text = copied.directory.settings_toml
    run = RunDirectory.create(tmp_path / "runs", "new", settings_toml=text, origins={}, argv=["ups"], task="burgers1d")
    async with piloted(make_app(tmp_path, run)) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: screen.settled, timeout=60)
        assert "run new has not looked at its data yet" in page(screen) and "let it train first" in page(screen)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 15)])
async def test_a_report_fits_every_size(tmp_path, monkeypatch, size):
    monkeypatch.setattr(CacheScreen, "action_refresh", lambda self: None)
    async with piloted(make_app(tmp_path), size) as pilot:
        screen = await opened(pilot)
        screen.query_one("#report").show(partial(cache_report, REPORT))
        await until(pilot, lambda: "✗ Not ready" in text_of(pilot.app))
        width = screen.query_one("#page").size.width
        assert max(map(len, page(screen).splitlines())) <= max(width, 72)
        text = page(screen)
        assert "4096     4000       90        0        6" in text and "3.00 GiB  6.00 GiB" in text
        assert "RAM        40.0 GiB free, cgroup /job (memory.max)  ✓ holds the latents" in text
        assert "GPU 0      1.00 GiB of 140 GiB free, NVIDIA H200  ✗ too small for them" in text
        assert "residency  ram" in text


async def test_progress_as_the_command_prints_it_becomes_a_bar(tmp_path, monkeypatch, capsys):
    progress = Counter("train: encoded", 0.0)
    progress(0, 200)
    progress(100, 200)
    lines = capsys.readouterr().err.splitlines()
    app = make_app(tmp_path)

    async def ups(*arguments, on_line):
        on_line(lines[-1])
        await asyncio.Event().wait()

    monkeypatch.setattr(app, "ups", ups)
    async with piloted(app) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: f"train: encoded {bar(0.5, 24)} 100/200, " in text_of(pilot.app))
        assert work(screen).endswith("left")


async def test_reading_only_builds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(CacheScreen, "action_refresh", lambda self: None)
    async with piloted(make_app(tmp_path, read_only=True)) as pilot:
        await opened(pilot)
        await pilot.press("b")
        assert "build" not in keys_of(pilot.app) and "cancel" not in keys_of(pilot.app)
