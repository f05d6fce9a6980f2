"""What a run takes of its machine: GPUs, memory, processor."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from textual.content import Content

from ups_app.tui.widgets.rows import Rows
from ups_app.tui.widgets.words import ONE_LINE, flowing, heading, labelled, shares
from ups_engine.telemetry.units import human_bytes

_NO_LIMIT = "host memory"
"""What a heartbeat names as the limit where there is none below all of the memory."""
_SHORT_BAR = 10
_MOST_GPUS = 2
"""That are shown where there are lines for few."""


class Machine(Rows):
    """Every GPU with the memory of this run and of others, its use, temperature and power; then RAM and CPU."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._vitals: Mapping[str, Any] = {}
        self._device: str | None = None
        self._over = False

    def tell(self, vitals: Mapping[str, Any], device: str | None, *, over: bool = False) -> None:
        """Show the data of a heartbeat.

        Args:
            vitals: empty before the first one.
            device: that the run computes on; None when it has not said.
            over: the process that said so is gone, and what it took is free.
        """
        if (vitals, device, over) != (self._vitals, self._device, self._over):
            self._vitals, self._device, self._over = vitals, device, over
            self.draw()

    def draw(self) -> None:
        """Put everything into one line if the panel is wide, into a column if it is narrow."""
        width = self.size.width
        if not width:
            return
        if width >= ONE_LINE:
            items = (*self._gpus_short(), *self._ram_short(), *self._cpu(short=True))
            when = [Content.styled("last seen:", "$muted")] if self._over and self._vitals else []
            self.put(flowing((*when, *items), width))
        else:
            title = "machine, when last seen" if self._over and self._vitals else "machine"
            self.put([heading(title), *self._gpus(width), *self._ram(width), *self._cpu(short=False)])

    def _gpus(self, width: int) -> Iterator[Content]:
        gpus = self._vitals.get("gpu") or []
        if not gpus:
            yield Content.styled(self._without_gpu(), "$muted")
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

    def _gpus_short(self) -> Iterator[Content]:
        gpus = self._vitals.get("gpu") or []
        if not gpus:
            yield Content.styled(self._without_gpu(), "$muted")
        for gpu in gpus[:_MOST_GPUS]:
            used, total, own = gpu.get("used_bytes") or 0, gpu.get("total_bytes") or 0, gpu.get("run_bytes")
            mine = f" (run {human_bytes(own)})" if own is not None else ""
            yield Content.assemble(
                (f"GPU {gpu.get('index')} ", "$muted"), f"{_amounts(used, total)}{mine} {' '.join(_senses(gpu))}"
            )
        if len(gpus) > _MOST_GPUS:
            yield Content.styled(f"and {len(gpus) - _MOST_GPUS} more GPUs", "$muted")

    def _without_gpu(self) -> str:
        if not self._vitals:
            return "no word from the machine yet"
        if self._device is not None and self._device.startswith("cuda"):
            return f"NVML shows no GPU; computing on {self._device}"
        return "no GPU, computes on the CPU"

    def _ram(self, width: int) -> Iterator[Content]:
        memory = _Memory.of(self._vitals)
        if memory is not None and memory.total:
            amounts = f" {_amounts(memory.used, memory.total)}"
            yield Content.assemble("RAM ", memory.bar(width - len(amounts) - 4), amounts)
            limit = self._vitals.get("ram_limit")
            set_by = f", limit by {limit}" if limit not in (None, _NO_LIMIT) else ""
            text = f"run {human_bytes(memory.own)}, {human_bytes(memory.free)} free{set_by}"
            yield from (Content.styled(line, "$muted") for line in textwrap.wrap(text, width))
        elif memory is not None:
            yield Content(f"RAM {human_bytes(memory.own)}")

    def _ram_short(self) -> Iterator[Content]:
        memory = _Memory.of(self._vitals)
        if memory is not None and memory.total:
            amounts = f" {human_bytes(memory.own)}, {human_bytes(memory.free)} free"
            yield Content.assemble(("RAM ", "$muted"), memory.bar(_SHORT_BAR), amounts)
        elif memory is not None:
            yield labelled("RAM", human_bytes(memory.own))

    def _cpu(self, *, short: bool) -> Iterator[Content]:
        percent = self._vitals.get("cpu_percent")
        if percent is not None and short:
            yield labelled("CPU", f"{percent:.0f} %")
        elif percent is not None:
            yield Content.assemble("CPU ", f"{percent:.0f} %", (" (100 % is one core)", "$muted"))


@dataclass(frozen=True)
class _Memory:
    """The machine's memory, in bytes; `total` 0 where the heartbeat tells the run's own share alone."""

    own: int
    free: int
    total: int

    @classmethod
    def of(cls, vitals: Mapping[str, Any]) -> "_Memory | None":
        own, free, total = (vitals.get(name) for name in ("ram_bytes", "ram_available_bytes", "ram_total_bytes"))
        if own is None:
            return None
        return cls(own, free or 0, total if free is not None and total else 0)

    @property
    def used(self) -> int:
        return max(self.own, self.total - self.free)

    def bar(self, width: int) -> Content:
        return _bar(self.own, self.used - self.own, self.total, width)


def _bar(own: float, others: float, total: float, width: int) -> Content:
    """A whole in three shades: what the run has, what others have, what is free."""
    width = max(4, min(width, 40))
    mine, theirs = shares((own / total, max(0.0, others) / total), width) if total else (0, 0)
    return Content.assemble(
        ("█" * mine, "$primary"), ("▒" * theirs, "$warning"), ("·" * (width - mine - theirs), "$muted")
    )


def _amounts(used: int, total: int) -> str:
    return f"{human_bytes(used)} of {human_bytes(total)}"


def _senses(gpu: Mapping[str, Any]) -> Iterator[str]:
    """Use, temperature and power, as far as the driver tells."""
    parts = (("utilisation", "use ", "%"), ("temperature", "", "°C"), ("power", "", "W"))
    for name, what, unit in parts:
        if (value := gpu.get(name)) is not None:
            yield f"{what}{value:.0f} {unit}"
