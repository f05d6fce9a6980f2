"""Tests of the interface are coroutines; each runs in an event loop of its own."""

import asyncio
import inspect

import pytest

from ups_app.tui import app
from ups_app.tui.screens import launch, log, runs
from ups_app.tui.widgets import editor


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """The interface looks around twenty times a second, and waits no longer for the end of a user's typing."""
    for module, pause in (
        (app, "LOOKS_APART"),
        (runs, "LOOKS_APART"),
        (log, "LOOKS_APART"),
        (launch, "TYPING"),
        (launch, "SETTLED"),
        (editor, "TYPING"),
    ):
        monkeypatch.setattr(module, pause, 0.05)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True
