"""The dashboard's small panels, as functions of their size: figures of a stage, latents and activity, warnings."""

import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from textual.content import Content

from ups_app.tui.widgets.words import ONE_LINE, bar, clock, count, flowing, heading, labelled, short_figure
from ups_engine.runs.curves import Curve, StageCurves
from ups_engine.telemetry.units import human_bytes

if TYPE_CHECKING:
    from ups_engine.runs.event_file import Event
    from ups_engine.runs.watch import RunView

_LONGEST_BAR = 24
_UNWRAPPED = 10_000  # cells
_WHERE = {"gpu": "on the GPU", "ram": "in RAM", "disk": "on disk"}
_NONE = Content.styled("no warnings", "$muted")


def figures(view: "RunView | None", stage: str | None, width: int, height: int) -> list[Content]:
    """What a stage has come to: in a line or two across the screen, else in two columns."""
    curves, best, stage_left, run_left = StageCurves(), None, None, None
    if view is not None:
        curves, run_left = view.curves.get(stage or "", curves), view.eta.run
        best = next((found.best for found in view.state.stages if found.name == stage), None)
        stage_left = view.eta.stage if stage in view.curves and stage == view.state.stage else None
    texts = [
        ("loss", short_figure(_last(curves.loss))),
        ("val", short_figure(_last(curves.validation))),
        ("best", short_figure(best)),
        ("lr", short_figure(_last(curves.lr))),
        ("grad norm", short_figure(_last(curves.grad_norm))),
        ("samples/s", count(_last(curves.throughput))),
        ("stage left", clock(stage_left)),
        ("run left", clock(run_left)),
    ]
    if width >= ONE_LINE:
        return flowing((labelled(name, text) for name, text in texts if text != "-"), width) or [Content("")]
    cells = [Content.assemble((f"{name:<11}", "$muted"), f"{text:<{max(0, width // 2 - 11)}}") for name, text in texts]
    rows = [Content.assemble(*pair) for pair in zip(cells[::2], cells[1::2], strict=True)]
    return [heading(stage or "figures"), *rows]


def latents(cache: Mapping[str, Any], activity: Mapping[str, Any], width: int, height: int) -> list[Content]:
    """How complete the latent caches are, where they live and why; or what goes on besides training.

    Args:
        cache: that part of a heartbeat; may be empty.
        activity: likewise.
        width: cells; where there are many the activity, else the cache, takes one line.
        height: unused.
    """
    doing = [_activity(activity, width)] if activity else []
    state, reason = _cache_state(cache), cache.get("reason")
    if width >= ONE_LINE:
        text = f"latents {state}" + (f": {reason}" if reason else "")
        return doing or [Content.styled(text, "$muted").truncate(width, ellipsis=True)]
    why = [Content.styled(line, "$muted") for line in textwrap.wrap(str(reason), width)] if reason else []
    return [heading("latents"), *map(Content, textwrap.wrap(state, width)), *why, *doing]


def warnings(events: "Sequence[Event]", width: int, height: int) -> list[Content]:
    """The latest warnings, the last one at the bottom: as many as there is room for."""
    if height <= 1:
        whole = [_warning(event, _UNWRAPPED)[0].truncate(width, ellipsis=True) for event in events[-1:]]
        return whole or [_NONE]
    lines: list[Content] = []
    for event in reversed(events):
        lines = [*_warning(event, width), *lines]
        if len(lines) >= height - 1:
            break
    return [heading("warnings"), *(lines[-(height - 1) :] or [_NONE])]


def _last(curve: Curve) -> float | None:
    return float(curve.values[-1]) if len(curve.values) else None


def _activity(activity: Mapping[str, Any], width: int) -> Content:
    what, done, total = (activity.get(name) for name in ("what", "done", "total"))
    amount = f" {done}/{total}"
    length = min(_LONGEST_BAR, max(4, width - len(str(what)) - len(amount) - 1))
    filled = bar((done or 0) / total, length) if total else ""
    return Content.assemble((f"{what} ", "b"), (filled, "$primary"), amount)


def _cache_state(cache: Mapping[str, Any]) -> str:
    complete, samples, size = (cache.get(name) for name in ("complete", "samples", "bytes"))
    parts = [f"{complete}/{samples} complete"] if samples is not None else []
    if cache.get("residency"):
        parts.append(_WHERE.get(cache["residency"], str(cache["residency"])))
    if size is not None:
        parts.append(human_bytes(size))
    return ", ".join(parts) or "no cache yet"


def _warning(event: "Event", width: int) -> list[Content]:
    text = str(event.data.get("message", ""))
    if event.stage is not None:
        text = f"{event.stage}: {text}"
    time = f"{datetime.fromtimestamp(event.time):%H:%M} "
    first, *rest = textwrap.wrap(text, max(8, width - 8)) or [""]
    head = Content.assemble(("! ", "b $warning"), (time, "$muted"), first)
    return [head, *(Content(f"        {line}") for line in rest)]
