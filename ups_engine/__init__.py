"""The engine of UPS: data, latents, models, stages and runs, usable without the interface.

>>> from ups_engine import load_settings, run_pipeline, start_run
>>> resolved = load_settings(preset="smoke")
>>> run = start_run(resolved.settings, origins=resolved.origins, argv=["example"])  # doctest: +SKIP
>>> run_pipeline(run)  # doctest: +SKIP
<Outcome.FINISHED: 'finished'>
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ups_engine.config.layers import load_settings
    from ups_engine.data.prepare import prepare_data
    from ups_engine.data.sources import open_source
    from ups_engine.errors import UpsError
    from ups_engine.observer import Observer
    from ups_engine.pipeline import Outcome, run_pipeline, start_run
    from ups_engine.revisit import evaluate_run, open_context
    from ups_engine.runs.directory import RunDirectory

_HOMES = {
    "Observer": "observer",
    "Outcome": "pipeline",
    "RunDirectory": "runs.directory",
    "UpsError": "errors",
    "evaluate_run": "revisit",
    "load_settings": "config.layers",
    "open_context": "revisit",
    "open_source": "data.sources",
    "prepare_data": "data.prepare",
    "run_pipeline": "pipeline",
    "start_run": "pipeline",
}

__all__ = [
    "Observer",
    "Outcome",
    "RunDirectory",
    "UpsError",
    "evaluate_run",
    "load_settings",
    "open_context",
    "open_source",
    "prepare_data",
    "run_pipeline",
    "start_run",
]


def __getattr__(name: str) -> Any:  # torch is imported only by who asks for something that needs it
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
