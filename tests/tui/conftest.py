"""Tests of the interface are coroutines; each runs in an event loop of its own."""

import asyncio
import inspect
from functools import partial

import pytest
from textual.css.stylesheet import Stylesheet

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
        monkeypatch.setattr(module, pause, 0.1)
    monkeypatch.setattr(session, "Watcher", partial(Watcher, interval=0.1))
    monkeypatch.setattr(runs, "RunsWatcher", partial(RunsWatcher, interval=0.2))


@pytest.fixture(autouse=True, scope="session")
def styles_parsed_once():
    """Every application parses the same styles, several times over: a tenth of a second each. Here they are kept."""
    parse, kept = Stylesheet._parse_rules, {}

    def parse_once(self, *arguments, **options):
        key = (arguments, *sorted(options.items()), frozenset(self._variables.items()))
        if key not in kept:
            kept[key] = parse(self, *arguments, **options)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters})
    )
    return True
