"""The dashboard's small panels, as functions of their size: a stage's figures, latents, warnings, the machine."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from textual.content import Content

from ups_app.tui.widgets.words import ONE_LINE, bar, clock, count, flowing, heading, labelled, short_figure
from ups_engine.runs.curves import Curve, StageCurves
from ups_engine.runs.event_file import Event
from ups_engine.runs.watch import RunView
from ups_engine.telemetry.units import human_bytes

_LONGEST_BAR = 24
_UNWRAPPED = 10_000  # cells
_WHERE = {"gpu": "on the GPU", "ram": "in RAM", "disk": "on disk"}
_NONE = Content.styled("no warnings", "$muted")
_NO_LIMIT = "host memory"
"""What a heartbeat names as the limit where there is none below all of the memory."""
_SHORT_BAR = 10
_MOST_GPUS = 2
"""That are shown where there are lines for few."""


def figures(view: RunView | None, stage: str | None, width: int, height: int) -> list[Content]:
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


def warnings(events: Sequence[Event], width: int, height: int) -> list[Content]:
    """The latest warnings, the last one at the bottom: as many as there is room for."""
    if height <= 1:
        whole = [_warning(event, _UNWRAPPED)[0].truncate(width, ellipsis=True) for event in events[-1:]]
        return whole or [_NONE]
    lines = [line for event in events[-height:] for line in _warning(event, width)]
    return [heading("warnings"), *(lines[-(height - 1) :] or [_NONE])]


def machine(vitals: Mapping[str, Any], device: str | None, over: bool, width: int, height: int) -> list[Content]:
    """What a heartbeat says of the machine, in a line if there is room across, else in a column.

    Args:
        vitals: data of the heartbeat; empty before the first one.
        device: that the run computes on; None when it has not said.
        over: the process that said so is gone, and what it took is free.
        width: cells.
        height: unused.
    """
    over = over and bool(vitals)
    gpus = vitals.get("gpu") or []
    none = [] if gpus else [_without_gpu(vitals, device)]
    if width >= ONE_LINE:
        when = [Content.styled("last seen:", "$muted")] if over else []
        items = (*when, *none, *_gpus_short(gpus), *_ram_short(vitals), *_cpu(vitals, short=True))
        return flowing(items, width)
    title = heading("machine, when last seen" if over else "machine")
    return [title, *none, *_gpus(gpus, width), *_ram(vitals, width), *_cpu(vitals, short=False)]


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


def _warning(event: Event, width: int) -> list[Content]:
    text = str(event.data.get("message", ""))
    if event.stage is not None:
        text = f"{event.stage}: {text}"
    time = f"{datetime.fromtimestamp(event.time):%H:%M} "
    first, *rest = textwrap.wrap(text, max(8, width - 8)) or [""]
    head = Content.assemble(("! ", "b $warning"), (time, "$muted"), first)
    return [head, *(Content(f"        {line}") for line in rest)]


def _gpus(gpus: Sequence[Mapping[str, Any]], width: int) -> Iterator[Content]:
    for gpu in gpus:
        used, total = gpu.get("used_bytes") or 0, gpu.get("total_bytes") or 0
        own = gpu.get("run_bytes")
        yield Content(f"GPU {gpu.get('index')} {gpu.get('name') or ''}".rstrip())
        amounts = f" {_amounts(used, total)}"
        mine = used if own is None else own
        yield Content.assemble(_bar(mine, used - mine, total, width - len(amounts)), amounts)
        parts = ["  ".join(_senses(gpu))]
        if own is not None:
            parts.insert(0, f"run {human_bytes(own)}, others {human_bytes(max(0, used - own))}")
        yield from (Content.styled(line.plain, "$muted") for line in flowing(map(Content, parts), width))


def _gpus_short(gpus: Sequence[Mapping[str, Any]]) -> Iterator[Content]:
    for gpu in gpus[:_MOST_GPUS]:
        used, total, own = gpu.get("used_bytes") or 0, gpu.get("total_bytes") or 0, gpu.get("run_bytes")
        mine = f" (run {human_bytes(own)})" if own is not None else ""
        senses = f"{_amounts(used, total)}{mine} {' '.join(_senses(gpu))}"
        yield Content.assemble((f"GPU {gpu.get('index')} ", "$muted"), senses)
    if len(gpus) > _MOST_GPUS:
        yield Content.styled(f"and {len(gpus) - _MOST_GPUS} more GPUs", "$muted")


def _without_gpu(vitals: Mapping[str, Any], device: str | None) -> Content:
    text = "no GPU, computes on the CPU"
    if not vitals:
        text = "no word from the machine yet"
    elif device is not None and device.startswith("cuda"):
        text = f"NVML shows no GPU; computing on {device}"
    return Content.styled(text, "$muted")


def _ram(vitals: Mapping[str, Any], width: int) -> Iterator[Content]:
    own, free, total = _memory(vitals)
    if total:
        amounts = f" {_amounts(max(own, total - free), total)}"
        yield Content.assemble("RAM ", _bar(own, total - free - own, total, width - len(amounts) - 4), amounts)
        limit = vitals.get("ram_limit")
        set_by = f", limit by {limit}" if limit not in (None, _NO_LIMIT) else ""
        text = f"run {human_bytes(own)}, {human_bytes(free)} free{set_by}"
        yield from (Content.styled(line, "$muted") for line in textwrap.wrap(text, width))
    elif vitals.get("ram_bytes") is not None:
        yield Content(f"RAM {human_bytes(own)}")


def _ram_short(vitals: Mapping[str, Any]) -> Iterator[Content]:
    own, free, total = _memory(vitals)
    if total:
        amounts = f" {human_bytes(own)}, {human_bytes(free)} free"
        yield Content.assemble(("RAM ", "$muted"), _bar(own, total - free - own, total, _SHORT_BAR), amounts)
    elif vitals.get("ram_bytes") is not None:
        yield labelled("RAM", human_bytes(own))


def _cpu(vitals: Mapping[str, Any], *, short: bool) -> Iterator[Content]:
    if (percent := vitals.get("cpu_percent")) is not None:
        share = f"{percent:.0f} %"
        yield labelled("CPU", share) if short else Content.assemble("CPU ", share, (" (100 % is one core)", "$muted"))


def _memory(vitals: Mapping[str, Any]) -> tuple[int, int, int]:
    """Bytes of the run, free ones, and all; the latter 0 where the heartbeat tells the run's own share alone."""
    own, free, total = (vitals.get(name) for name in ("ram_bytes", "ram_available_bytes", "ram_total_bytes"))
    return own or 0, free or 0, 0 if own is None or free is None else total or 0


def _bar(own: float, others: float, total: float, width: int) -> Content:
    """A whole in three shades: what the run has, what others have, what is free."""
    width = max(4, min(width, 40))
    mine = _cells(own, total, width, width)
    theirs = _cells(others, total, width, width - mine)
    return Content.assemble(
        ("█" * mine, "$primary"), ("▒" * theirs, "$warning"), ("·" * (width - mine - theirs), "$muted")
    )


def _cells(part: float, total: float, width: int, room: int) -> int:
    """Cells of a bar for a part of a whole; one that is there at all has a cell, as far as there is room."""
    return min(max(round(part / total * width), 1), room) if total and part > 0 else 0


def _amounts(used: int, total: int) -> str:
    return f"{human_bytes(used)} of {human_bytes(total)}"


def _senses(gpu: Mapping[str, Any]) -> Iterator[str]:
    """Use, temperature and power, as far as the driver tells."""
    parts = (("utilisation", "use ", "%"), ("temperature", "", "°C"), ("power", "", "W"))
    for name, what, unit in parts:
        if (value := gpu.get(name)) is not None:
            yield f"{what}{value:.0f} {unit}"
