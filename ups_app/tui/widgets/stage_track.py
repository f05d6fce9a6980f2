"""The stages of a run, one line each: what state, how far, how good, how long, and how much longer."""

from collections.abc import Mapping

from textual import events
from textual.content import Content
from textual.message import Message

from ups_app.tui.looks import STATES
from ups_app.tui.widgets.line import Rows
from ups_app.tui.widgets.words import bar, clock, short_figure
from ups_engine.config.schema import STAGES
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

    def tell(self, view: RunView, chosen: str | None) -> None:
        """Show the stages of a run, one of them highlighted."""
        self._view, self._chosen = view, chosen
        self.draw()

    def _page(self, width: int, height: int) -> list[Content]:
        """A line for each stage, after the names of the columns where there is room for a line more."""
        rest = width - 3 - _NAME
        columns = {"epochs": 9, "best": 10, "time": 8, "left": 8}
        for name in ("time", "left", "best"):  # the least needed first
            if rest - sum(columns.values()) < 1:
                del columns[name]
        room = rest - sum(columns.values())
        room = min(_LONGEST_BAR + 2, room) if room >= 6 else 0
        names = "".join(f"{name:>{wide}}" for name, wide in columns.items())
        head = [Content.styled(f"   {'stage':<{_NAME + room}}{names}", "$muted")] if self._headed else []
        if (view := self._view) is None:
            return head
        return [*head, *(_line(stage, view, self._chosen, columns, room) for stage in view.state.stages)]

    def on_click(self, event: events.Click) -> None:
        """Highlight a stage."""
        row = event.y - self._headed
        if self._view is not None and 0 <= row < len(self._view.state.stages):
            self.post_message(self.Chosen(self._view.state.stages[row].name))

    @property
    def _headed(self) -> bool:
        return self.screen.size.height >= 30


def _line(stage: StageState, view: RunView, chosen: str | None, columns: Mapping[str, int], room: int) -> Content:
    """A stage's line: these columns with their widths, and a bar in so much room before them."""
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
        (f" {bar(_done(stage, view), room - 2)} " if room else "", colour),
        ("".join(f"{cells[column]:>{width}}" for column, width in columns.items()), "" if current else "$muted"),
    )


def _done(stage: StageState, view: RunView) -> float:
    """How much of a stage is done, 0 to 1; of the one under way to the step, where that is known."""
    if stage.state == "done":
        return 1.0
    if not stage.epochs:
        return 0.0
    steps, step = epoch_steps(view, stage.name), view.last_step
    if stage.name != view.state.stage or steps is None or step is None or step.step is None:
        return stage.epoch / stage.epochs
    return max(stage.epoch, step.step / steps) / stage.epochs


def epoch_steps(view: RunView, stage: str | None) -> float | None:
    """Optimiser steps of an epoch of a stage, where its last step has told."""
    step = view.last_step
    if step is not None and step.stage == stage and step.data.get("epoch_steps"):
        return float(step.data["epoch_steps"])
    return None
