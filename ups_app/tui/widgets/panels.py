"""The dashboard's small panels: figures of a stage, latents and activity, warnings, and what to do when a run rests."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from textual.content import Content

from ups_app.tui.widgets.rows import Rows
from ups_app.tui.widgets.words import ONE_LINE, bar, clock, count, flowing, heading, labelled, short_figure
from ups_engine.telemetry.units import human_bytes

if TYPE_CHECKING:
    from ups_engine.runs.event_file import Event

_LONGEST_BAR = 24
_UNWRAPPED = 10_000  # cells
_WHERE = {"gpu": "on the GPU", "ram": "in RAM", "disk": "on disk"}


@dataclass(frozen=True)
class Reading:
    """The latest figures of a stage; None for one that is not known.

    Attributes:
        stage: name.
        loss: of training.
        validation: latest score.
        best: best score.
        lr: learning rate.
        grad_norm: before clipping.
        throughput: samples per second.
        stage_left: seconds that the stage will take still.
        run_left: seconds that the run will take still.
    """

    stage: str | None = None
    loss: float | None = None
    validation: float | None = None
    best: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    throughput: float | None = None
    stage_left: float | None = None
    run_left: float | None = None


class Figures(Rows):
    """What a stage has come to."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reading = Reading()

    def tell(self, reading: Reading) -> None:
        """Show these figures."""
        if reading != self._reading:
            self._reading = reading
            self.draw()

    def draw(self) -> None:
        """Put all figures in two lines, or one beneath the other."""
        width, now = self.size.width, self._reading
        if not width:
            return
        figures = [
            ("loss", short_figure(now.loss)),
            ("val", short_figure(now.validation)),
            ("best", short_figure(now.best)),
            ("lr", short_figure(now.lr)),
            ("grad norm", short_figure(now.grad_norm)),
            ("samples/s", count(now.throughput)),
            ("stage left", clock(now.stage_left)),
            ("run left", clock(now.run_left)),
        ]
        if width >= ONE_LINE:
            self.put(
                flowing((labelled(name, value) for name, value in figures if value != "-"), width) or [Content("")]
            )
        else:
            cells = [
                Content.assemble((f"{name:<11}", "$muted"), f"{value:<{max(0, width // 2 - 11)}}")
                for name, value in figures
            ]
            rows = [Content.assemble(*pair) for pair in zip(cells[::2], cells[1::2], strict=True)]
            self.put([heading(now.stage or "figures"), *rows])


class Latents(Rows):
    """How complete the latent caches are, where they live and why, and what goes on besides training."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._cache: Mapping[str, Any] = {}
        self._activity: Mapping[str, Any] = {}

    def tell(self, cache: Mapping[str, Any], activity: Mapping[str, Any]) -> None:
        """Show these parts of a heartbeat; either may be empty."""
        if (cache, activity) != (self._cache, self._activity):
            self._cache, self._activity = cache, activity
            self.draw()

    def draw(self) -> None:
        """Put the activity, else the cache, into one line; or both into a column."""
        width = self.size.width
        if not width:
            return
        doing = self._doing(width)
        if width >= ONE_LINE:
            text = f"latents {self._state()}" + (f": {self._cache['reason']}" if self._cache.get("reason") else "")
            self.put([doing or Content.styled(text, "$muted").truncate(width, ellipsis=True)])
            return
        lines = [heading("latents"), *map(Content, textwrap.wrap(self._state(), width))]
        if self._cache.get("reason"):
            lines += [Content.styled(line, "$muted") for line in textwrap.wrap(str(self._cache["reason"]), width)]
        self.put([*lines, *([doing] if doing else [])])

    def _doing(self, width: int) -> Content | None:
        if not self._activity:
            return None
        what, done, total = (self._activity.get(name) for name in ("what", "done", "total"))
        amount = f" {done}/{total}"
        length = min(_LONGEST_BAR, max(4, width - len(str(what)) - len(amount) - 1))
        filled = bar((done or 0) / total, length) if total else ""
        return Content.assemble((f"{what} ", "b"), (filled, "$primary"), amount)

    def _state(self) -> str:
        if not self._cache:
            return "no cache yet"
        complete, samples, size = (self._cache.get(name) for name in ("complete", "samples", "bytes"))
        parts = [f"{complete}/{samples} complete"] if samples is not None else []
        if self._cache.get("residency"):
            parts.append(_WHERE.get(self._cache["residency"], str(self._cache["residency"])))
        if size is not None:
            parts.append(human_bytes(size))
        return ", ".join(parts) or "no cache yet"


class Warnings(Rows):
    """The latest warnings, the last one at the bottom."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._events: tuple[Event, ...] = ()

    def tell(self, events: "Sequence[Event]") -> None:
        """Show the end of these."""
        if tuple(event.seq for event in events) != tuple(event.seq for event in self._events):
            self._events = tuple(events)
            self.draw()

    def draw(self) -> None:
        """Put the last one into one line, or as many as there is room for."""
        width, height = self.size
        if not width:
            return
        if height <= 1:
            whole = [_warning(event, _UNWRAPPED)[0].truncate(width, ellipsis=True) for event in self._events[-1:]]
            self.put(whole or [_NONE])
            return
        lines: list[Content] = []
        for event in reversed(self._events):
            lines = [*_warning(event, width), *lines]
            if len(lines) >= height - 1:
                break
        self.put([heading("warnings"), *(lines[-(height - 1) :] or [_NONE])])


_NONE = Content.styled("no warnings", "$muted")


def _warning(event: "Event", width: int) -> list[Content]:
    text = str(event.data.get("message", ""))
    if event.stage is not None:
        text = f"{event.stage}: {text}"
    time = f"{datetime.fromtimestamp(event.time):%H:%M} "
    first, *rest = textwrap.wrap(text, max(8, width - 8)) or [""]
    head = Content.assemble(("! ", "b $warning"), (time, "$muted"), first)
    return [head, *(Content(f"        {line}") for line in rest)]
