"""The followed run at a glance: its stages, its curves, its figures, its machine."""

from functools import partial

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical, VerticalScroll

from ups_app.tui.actions import Action
from ups_app.tui.screens.commanding import COMMANDS, RunCommands
from ups_app.tui.widgets.banner import Banner
from ups_app.tui.widgets.line import Line, Rows
from ups_app.tui.widgets.loss_chart import KINDS, Kind, LossChart
from ups_app.tui.widgets.panels import figures, latents, machine, warnings
from ups_app.tui.widgets.stage_track import StageTrack, epoch_steps
from ups_engine.runs.requests import LIVE
from ups_engine.runs.watch import RunView

CURVE = Action("curve", "c", "curve", "turn between loss, its parts, learning rate, gradient, speed")


class DashboardScreen(RunCommands):
    """Stages, curves, figures and machine, arranged by the size of the terminal."""

    ACTIONS = (
        Action("start", "enter", "start", "start the highlighted stage, or resume a run that is down", True),
        *COMMANDS,
        Action("stage_before", "left,up,left_square_bracket", "", "highlight the stage before"),
        Action(
            "stage_after",
            "right,down,right_square_bracket",
            "stage",
            "highlight the next stage; its curves are shown",
        ),
        CURVE,
    )
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-short"), (30, "-tall")]  # noqa: RUF012
    """Below the second there is no room for a chart."""

    _chosen: str | None = None
    _kind: Kind = "loss"
    _run: str | None = None

    def body(self) -> ComposeResult:
        """Everything; which of it is shown where is for the style sheet."""
        yield Banner()
        runs, launch = self.keys["go_runs"], self.keys["go_launch"]
        yield Line(f"No run is followed. {runs} lists the runs there are, {launch} starts a new one.", id="no-run")
        with Container(id="dashboard"):
            with Vertical(id="course"):
                yield StageTrack()
                with Horizontal(id="large"):
                    yield LossChart(id="chosen")
                    yield LossChart(id="parts")
                with Horizontal(id="small"):
                    yield LossChart(id="lr")
                    yield LossChart(id="grad_norm")
                    yield LossChart(id="throughput")
            with VerticalScroll(id="panels", can_focus=False):
                yield Rows(partial(figures, None, None), id="figures")
                yield Rows(partial(machine, {}, None, False), id="machine")
                yield Rows(partial(latents, {}, {}), id="latents")
                yield Rows(partial(warnings, ()), id="warnings")

    def show(self, view: RunView | None) -> None:
        """Take in the latest view."""
        followed = self.ups.followed
        self.query_one("#no-run").display = followed is None
        self.query_one("#dashboard").display = followed is not None
        if (path := None if followed is None else str(followed.path)) != self._run:
            self._run, self._chosen = path, None
        self.query_one(Banner).tell(None if view is None else view.state, self.keys, read_only=self.ups.read_only)
        if view is not None:
            self._show_stages(view)
            self._show_panels(view)

    def stage(self) -> str | None:
        """The stage that the user has highlighted; None while the highlight follows the run."""
        return self._chosen

    def label(self, action: Action) -> str:
        """All kinds of curves are on the screen at once when it is large."""
        if action is CURVE and self.has_class("-huge") and self.has_class("-tall"):
            return ""
        return super().label(action)

    def copyable(self) -> str | None:
        """The run's folder."""
        followed = self.ups.followed
        return None if followed is None else str(followed.path)

    def action_stage_before(self) -> None:
        """Highlight the stage before."""
        self._step(-1)

    def action_stage_after(self) -> None:
        """Highlight the next stage."""
        self._step(1)

    def action_curve(self) -> None:
        """Show the next kind of curve."""
        kinds = list(KINDS)
        self._kind = kinds[(kinds.index(self._kind) + 1) % len(kinds)]
        self.show(self.ups.view)

    def on_stage_track_chosen(self, message: StageTrack.Chosen) -> None:
        """Highlight the stage that was clicked."""
        self._choose(message.stage)

    def _step(self, by: int) -> None:
        view = self.ups.view
        if view is None or not view.state.stages:
            return
        names = [stage.name for stage in view.state.stages]
        shown = _shown(view, self._chosen)
        at = names.index(shown) if shown in names else 0
        self._choose(names[min(max(at + by, 0), len(names) - 1)])

    def _choose(self, stage: str) -> None:
        view = self.ups.view
        self._chosen = None if view is not None and stage == view.state.stage else stage
        self.show(view)

    def _show_panels(self, view: RunView) -> None:
        over, vitals = view.state.state not in LIVE, view.vitals
        activity = vitals.get("activity") if view.state.state in ("running", "waiting") else None
        for name, layout in (
            ("#figures", partial(figures, view, _shown(view, self._chosen))),
            ("#machine", partial(machine, vitals, _device(view), over)),
            ("#latents", partial(latents, vitals.get("cache") or {}, activity or {})),
            ("#warnings", partial(warnings, view.warnings)),
        ):
            self.query_one(name, Rows).show(layout)

    def _show_stages(self, view: RunView) -> None:
        shown = _shown(view, self._chosen)
        self.query_one(StageTrack).tell(view, shown)
        curves = None if shown is None else view.curves.get(shown)
        planned = _planned(view, shown)
        for chart in self.query(LossChart):
            kind = self._kind if chart.id == "chosen" else chart.id
            chart.tell(shown, kind, curves, planned)  # type: ignore[arg-type]  # ids are kinds


def _shown(view: RunView, chosen: str | None) -> str | None:
    """The stage whose curves are shown: the chosen one, else the one under way, else the last that has any."""
    names = [stage.name for stage in view.state.stages]
    if chosen in names:
        return chosen
    if view.state.stage is not None:
        return view.state.stage
    drawn = [name for name in names if name in view.curves and len(view.curves[name].loss.steps)]
    return drawn[-1] if drawn else names[0] if names else None


def _planned(view: RunView, name: str | None) -> float | None:
    """Optimiser steps of a whole stage while it is under way; those it did when it is not."""
    stage = next((stage for stage in view.state.stages if stage.name == name), None)
    steps = epoch_steps(view, name)
    if stage is not None and stage.state == "running":
        return None if steps is None else steps * stage.epochs
    curves = view.curves.get(name or "")
    return None if curves is None or not len(curves.loss.steps) else float(curves.loss.steps[-1])


def _device(view: RunView) -> str | None:
    """Where the run computes, if that is among what it said lately."""
    devices = [event.data["device"] for event in view.recent if event.data.get("device")]
    return str(devices[-1]) if devices else None
