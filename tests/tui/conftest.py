"""Tests of the interface are coroutines; each runs in an event loop of its own."""

import asyncio
import inspect
from functools import partial

import pytest

from ups_app.tui import app, session
from ups_app.tui.screens import launch, log, runs
from ups_app.tui.widgets import editor
from ups_engine.runs.watch import RunsWatcher, Watcher


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Everything is looked at many times a second, and nothing waits for the end of a user's typing."""
    for module, pause in (
        (app, "LOOKS_APART"),
        (runs, "LOOKS_APART"),
        (log, "LOOKS_APART"),
        (launch, "TYPING"),
        (launch, "SETTLED"),
        (editor, "TYPING"),
    ):
        monkeypatch.setattr(module, pause, 0.05)
    monkeypatch.setattr(session, "Watcher", partial(Watcher, interval=0.1))
    monkeypatch.setattr(runs, "RunsWatcher", partial(RunsWatcher, interval=0.2))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters})
    )
    return True
