"""The stages of a run, one line each: what state, how far, how good, how long, and how much longer."""

from collections.abc import Sequence
from dataclasses import dataclass
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

_NAME = max(map(len, STAGES))
_LONGEST_BAR = 40


@dataclass(frozen=True)
class Track:
    """What the track shows.

    Attributes:
        stages: in the order planned.
        chosen: name of the highlighted stage.
        current: name of the stage under way.
        fraction: how much of the stage under way is done, 0 to 1; None to tell it by its epochs.
        left: seconds that the stage under way will take still, where known.
    """

    stages: "Sequence[StageState]"
    chosen: str | None = None
    current: str | None = None
    fraction: float | None = None
    left: float | None = None


class StageTrack(Rows):
    """All stages; a click highlights one."""

    class Chosen(Message):
        """A stage was clicked."""

        def __init__(self, stage: str) -> None:
            super().__init__()
            self.stage = stage

    def __init__(self) -> None:
        super().__init__(self._page)
        self._track = Track(())

    def tell(self, track: Track) -> None:
        """Show this."""
        self._track = track
        self.draw()

    def _page(self, width: int, height: int) -> list[Content]:
        """A line for each stage, after the names of the columns where there is room for a line more."""
        columns = _Columns(width)
        head = [columns.head()] if self._headed else []
        return [*head, *(columns.line(stage, self._track) for stage in self._track.stages)]

    def on_click(self, event: events.Click) -> None:
        """Highlight a stage."""
        row = event.y - self._headed
        if 0 <= row < len(self._track.stages):
            self.post_message(self.Chosen(self._track.stages[row].name))

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

    def line(self, stage: "StageState", track: Track) -> Content:
        sign, colour = STATES[stage.state]
        current = stage.name == track.current
        cells = {
            "epochs": f"{stage.epoch}/{stage.epochs}" if stage.epochs else stage.state,
            "best": short_figure(stage.best) if stage.best is not None else "",
            "time": clock(stage.seconds) if stage.seconds else "",
            "left": clock(track.left) if current and track.left is not None else "",
        }
        name = f"{stage.name:<{_NAME}}"
        style = "b" if current else "$muted" if stage.state in ("waiting", "skipped") else ""
        return Content.assemble(
            ("▶" if stage.name == track.chosen else " ", "b $primary"),
            (f"{sign} ", colour),
            (name, style),
            (f" {bar(_done(stage, track), self._bar)} " if self._bar else "", colour),
            ("".join(f"{cells[column]:>{width}}" for column, width in self._wide.items()), "" if current else "$muted"),
        )

    @property
    def _between(self) -> int:
        return self._bar + 2 if self._bar else 0


def _done(stage: "StageState", track: Track) -> float:
    if stage.state == "done":
        return 1.0
    if stage.name == track.current and track.fraction is not None:
        return track.fraction
    return stage.epoch / stage.epochs if stage.epochs else 0.0
