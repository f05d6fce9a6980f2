"""Tests that need a GPU are skipped where there is none; one finished run serves all tests that look at one."""

import gc
import os
import sys

import pytest

# Tiny tensors: threads that wait for each other on a busy machine cost four times the time of one that works.
# Set before torch is loaded, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where bytecode is not kept, each of some hundred processes compiles the engine and the application again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

BEGUN_FIRST = ("tests/tui/test_session.py", "tests/tui/test_surviving.py")
"""What takes longest, so that no worker sits over it alone when all else is done."""


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory):
    """Hashes of data files are remembered for this session alone, and not in the user's cache folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.nodeid.startswith(BEGUN_FIRST))
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish():
    """What the test modules have loaded stays: the garbage collector need not look through torch again and again."""
    gc.freeze()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A tiny run of all stages, not to be changed; `copy` gives one that may be."""
    from tiny_run import train_tiny, working_folder

    run = train_tiny(working_folder(tmp_path_factory.mktemp("finished")))
    assert run.done.code == 0, run.done.err
    return run


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run with its working folder."""
    return finished.copy(tmp_path / "copied")


@pytest.fixture
def tiny_folder(tmp_path):
    """A working folder with settings for tiny runs and nothing else."""
    from tiny_run import working_folder

    return working_folder(tmp_path / "tiny")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Loads settings of tiny runs in an empty folder."""
    from tiny_run import TINY

    from ups_engine.config.layers import load_settings

    monkeypatch.chdir(tmp_path)
    (tmp_path / "ups.toml").write_text(TINY)

    def load(*overrides):
        return load_settings(preset="smoke", overrides=overrides, env={}, home=tmp_path / "home").settings

    return load
