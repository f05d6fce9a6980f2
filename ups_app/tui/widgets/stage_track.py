"""The stages of a run, one line each: what state, how far, how good, how long, and how much longer."""

from typing import TYPE_CHECKING

from textual import events
from textual.content import Content
from textual.message import Message

from ups_app.tui.looks import STATES
from ups_app.tui.widgets.rows import Rows
from ups_app.tui.widgets.words import bar, clock, short_figure
from ups_engine.config.schema import STAGES

if TYPE_CHECKING:
    from ups_engine.runs.projection import StageState
    from ups_engine.runs.watch import RunView

_NAME = max(map(len, STAGES))
_LONGEST_BAR = 40


class StageTrack(Rows):
    """All stages; a click highlights one."""

    class Chosen(Message):
        """A stage was clicked."""

        def __init__(self, stage: str) -> None:
            super().__init__()
            self.stage = stage

    def __init__(self) -> None:
        super().__init__(self._page)
        self._view: RunView | None = None
        self._chosen: str | None = None

    def tell(self, view: "RunView", chosen: str | None) -> None:
        """Show the stages of a run, one of them highlighted."""
        self._view, self._chosen = view, chosen
        self.draw()

    def _page(self, width: int, height: int) -> list[Content]:
        """A line for each stage, after the names of the columns where there is room for a line more."""
        columns = _Columns(width)
        head = [columns.head()] if self._headed else []
        if self._view is None:
            return head
        return [*head, *(columns.line(stage, self._view, self._chosen) for stage in self._view.state.stages)]

    def on_click(self, event: events.Click) -> None:
        """Highlight a stage."""
        row = event.y - self._headed
        if self._view is not None and 0 <= row < len(self._view.state.stages):
            self.post_message(self.Chosen(self._view.state.stages[row].name))

    @property
    def _headed(self) -> bool:
        return self.screen.size.height >= 30


class _Columns:
    """The columns that fit into a width; the least needed are left out first."""

    def __init__(self, width: int) -> None:
        rest = width - 3 - _NAME
        self._wide = {"epochs": 9, "best": 10, "time": 8, "left": 8}
        for name in ("time", "left", "best"):
            if rest - sum(self._wide.values()) < 1:
                del self._wide[name]
        room = rest - sum(self._wide.values()) - 2
        self._bar = min(_LONGEST_BAR, room) if room >= 4 else 0

    def head(self) -> Content:
        cells = "".join(f"{name:>{width}}" for name, width in self._wide.items())
        return Content.styled(f"   {'stage':<{_NAME + self._between}}{cells}", "$muted")

    def line(self, stage: "StageState", view: "RunView", chosen: str | None) -> Content:
        sign, colour = STATES[stage.state]
        current = stage.name == view.state.stage
        cells = {
            "epochs": f"{stage.epoch}/{stage.epochs}" if stage.epochs else stage.state,
            "best": short_figure(stage.best) if stage.best is not None else "",
            "time": clock(stage.seconds) if stage.seconds else "",
            "left": clock(view.eta.stage) if current and view.eta.stage is not None else "",
        }
        name = f"{stage.name:<{_NAME}}"
        style = "b" if current else "$muted" if stage.state in ("waiting", "skipped") else ""
        return Content.assemble(
            ("▶" if stage.name == chosen else " ", "b $primary"),
            (f"{sign} ", colour),
            (name, style),
            (f" {bar(_done(stage, view), self._bar)} " if self._bar else "", colour),
            ("".join(f"{cells[column]:>{width}}" for column, width in self._wide.items()), "" if current else "$muted"),
        )

    @property
    def _between(self) -> int:
        return self._bar + 2 if self._bar else 0


def _done(stage: "StageState", view: "RunView") -> float:
    """How much of a stage is done, 0 to 1; of the one under way to the step, where that is known."""
    if stage.state == "done":
        return 1.0
    if not stage.epochs:
        return 0.0
    steps, step = epoch_steps(view, stage.name), view.last_step
    if stage.name != view.state.stage or steps is None or step is None or step.step is None:
        return stage.epoch / stage.epochs
    return max(stage.epoch, step.step / steps) / stage.epochs


def epoch_steps(view: "RunView", stage: str | None) -> float | None:
    """Optimiser steps of an epoch of a stage, where its last step has told."""
    step = view.last_step
    if step is not None and step.stage == stage and step.data.get("epoch_steps"):
        return float(step.data["epoch_steps"])
    return None
