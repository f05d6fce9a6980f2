"""Which stages a run goes through."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.message import Message

from ups_app.tui.widgets.line import Rows
from ups_app.tui.widgets.words import flowing
from ups_engine.config.schema import STAGES, TRAINED_STAGES


class StageChoice(Rows, can_focus=True):
    """All stages with a box each; arrows move, Space or a click turns one on or off."""

    BINDINGS: ClassVar = [
        Binding("left", "move(-1)", "previous", show=False),
        Binding("right", "move(1)", "next", show=False),
        Binding("space,enter", "turn", "toggle", show=False),
    ]

    class Toggled(Message):
        """A stage shall be left out, or run again."""

        def __init__(self, stage: str) -> None:
            super().__init__()
            self.stage = stage

    def __init__(self, *, id: str) -> None:
        super().__init__(lambda width, height: flowing(map(self._box, STAGES), width), id=id)
        self._at = 0
        self._left_out: Collection[str] = ()
        self._epochs: Mapping[str, int] = {}

    def tell(self, left_out: Collection[str], epochs: Mapping[str, int]) -> None:
        """Show which stages are left out, and how many epochs the settings give each."""
        self._left_out, self._epochs = left_out, epochs
        self.draw()

    def on_focus(self) -> None:
        """Show where the arrows are."""
        self.draw()

    def on_blur(self) -> None:
        """Show it no longer."""
        self.call_later(self.draw)

    def action_move(self, by: int) -> None:
        """Go to another stage."""
        self._at = (self._at + by) % len(STAGES)
        self.draw()

    def action_turn(self, stage: str | None = None) -> None:
        """Turn a stage on or off, the one under the cursor or one that was clicked on."""
        if stage is not None:
            self._at = next(at for at, name in enumerate(STAGES) if name == stage)
        self.post_message(self.Toggled(STAGES[self._at]))

    def _box(self, stage: str) -> Content:
        epochs = self._epochs.get(stage, 1)
        off = stage in self._left_out or not epochs
        style = "$muted" if off else "$foreground"
        if self.has_focus and STAGES[self._at] == stage:
            style += " reverse"
        count = f" {epochs}" if stage in TRAINED_STAGES else ""
        return Content.from_markup(
            f"[@click=turn('{stage}')][{style}]$text[/][/]", text=f"[{' ' if off else 'x'}] {stage}{count}"
        )
