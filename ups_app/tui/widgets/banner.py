"""What state a run is in when it is not simply running, and what to do next."""

from textual.content import Content

from ups_app.tui.looks import STATES
from ups_app.tui.widgets.line import Line
from ups_app.tui.widgets.words import clock
from ups_engine.runs.state import RunState


class Banner(Line):
    """A sentence or two; hidden while the run is running."""

    def tell(self, state: RunState | None, keys: dict[str, str], *, read_only: bool) -> None:
        """Show the state of a run.

        Args:
            state: None hides the banner.
            keys: names of the keys by action.
            read_only: say nothing of keys that change a run.
        """
        self.display = state is not None and state.state != "running"
        if state is not None and self.display:
            self.set_class(state.state in ("failed", "lost"), "-bad")
            self.set_class(state.state == "finished", "-good")
            self.put(_content(state, keys, read_only))


def _content(state: RunState, keys: dict[str, str], read_only: bool) -> Content:
    sign, colour = STATES[state.state]
    what, does = _WORDS[state.state]
    if state.state == "lost" and state.silence is not None:
        what += f", silent for {clock(state.silence)}"
    elif state.state == "failed" and state.error is not None:
        what = "\n".join(filter(None, state.error))
    parts = [Content.from_markup(f"[b {colour}]{sign} $state[/] ", state=state.state), Content(what)]
    for action, effect in does:
        if action == "go_results" or not read_only:
            parts.append(Content.from_markup("  [b $primary]$key[/] $effect", key=keys[action], effect=effect))
    return Content("").join(parts)


_WORDS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "waiting": ("the run is starting", ()),
    "paused": ("held between steps, memory kept", (("pause", "goes on"), ("park", "saves and frees it"))),
    "parked": ("saved, GPU and memory are free", (("resume", "goes on where it was"),)),
    "stopped": ("saved", (("resume", "goes on where it was"),)),
    "failed": ("", (("resume", "tries again from its last save"),)),
    "lost": ("its process is gone", (("resume", "goes on from its last save"),)),
    "finished": ("all stages are through", (("go_results", "shows the results"),)),
}
"""What is to be said of a state, and what an action would do."""
