"""What a run takes of its machine: GPUs, memory, processor."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from textual.content import Content

from ups_app.tui.widgets.words import ONE_LINE, flowing, heading, labelled
from ups_engine.telemetry.units import human_bytes

_NO_LIMIT = "host memory"
"""What a heartbeat names as the limit where there is none below all of the memory."""
_SHORT_BAR = 10
_MOST_GPUS = 2
"""That are shown where there are lines for few."""


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
    if width >= ONE_LINE:
        when = [Content.styled("last seen:", "$muted")] if over else []
        return flowing((*when, *_gpus_short(vitals, device), *_ram_short(vitals), *_cpu(vitals, short=True)), width)
    title = heading("machine, when last seen" if over else "machine")
    return [title, *_gpus(vitals, device, width), *_ram(vitals, width), *_cpu(vitals, short=False)]


def _gpus(vitals: Mapping[str, Any], device: str | None, width: int) -> Iterator[Content]:
    gpus = vitals.get("gpu") or []
    if not gpus:
        yield _without_gpu(vitals, device)
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


def _gpus_short(vitals: Mapping[str, Any], device: str | None) -> Iterator[Content]:
    gpus = vitals.get("gpu") or []
    if not gpus:
        yield _without_gpu(vitals, device)
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
        yield Content.assemble("RAM ", _ram_bar(own, free, total, width - len(amounts) - 4), amounts)
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
        yield Content.assemble(("RAM ", "$muted"), _ram_bar(own, free, total, _SHORT_BAR), amounts)
    elif vitals.get("ram_bytes") is not None:
        yield labelled("RAM", human_bytes(own))


def _cpu(vitals: Mapping[str, Any], *, short: bool) -> Iterator[Content]:
    percent = vitals.get("cpu_percent")
    if percent is not None and short:
        yield labelled("CPU", f"{percent:.0f} %")
    elif percent is not None:
        yield Content.assemble("CPU ", f"{percent:.0f} %", (" (100 % is one core)", "$muted"))


def _memory(vitals: Mapping[str, Any]) -> tuple[int, int, int]:
    """Bytes of the run, free ones, and all; the latter 0 where the heartbeat tells the run's own share alone."""
    own, free, total = (vitals.get(name) for name in ("ram_bytes", "ram_available_bytes", "ram_total_bytes"))
    return own or 0, free or 0, 0 if own is None or free is None else total or 0


def _ram_bar(own: int, free: int, total: int, width: int) -> Content:
    return _bar(own, max(own, total - free) - own, total, width)


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
