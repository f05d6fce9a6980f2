"""What the followed run's evaluation has found: figures, their growth over the frames, and fields to look at."""

from dataclasses import replace
from functools import partial

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content

from ups_app.tui.actions import Action
from ups_app.tui.screens.base import UpsScreen
from ups_app.tui.widgets.field_picture import Choice, FieldPicture
from ups_app.tui.widgets.line import Line, Rows
from ups_app.tui.widgets.scores import error_by_frame, scores
from ups_app.tui.widgets.words import bar, short_figure
from ups_engine.errors import RunError
from ups_engine.evaluation.examples import Examples, examples_path
from ups_engine.evaluation.report import EvaluationReport
from ups_engine.evaluation.soundness import report_flaw
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.watch import RunView

_SLIDER = 24


class ResultsScreen(UpsScreen):
    """Table, error by frame, and pictures of a few trajectories."""

    ACTIONS = (
        Action("plot", "c", "fields", "turn between errors and fields, where only one of them has room"),
        Action("trajectory", "t", "trajectory", "show the next trajectory"),
        Action("field", "v", "field", "show the next field"),
        Action("frame_before", "left,left_square_bracket", "", "go back a frame"),
        Action("frame_after", "right,right_square_bracket", "frame", "go on to the next frame"),
    )

    _read: tuple[str, int] | None = None
    """Folder of the run, and number of the evaluation's event, that are shown."""
    _reading = False
    _report: EvaluationReport | None = None
    _examples: Examples | None = None
    _choice = Choice()
    _fields_in_front = False

    def body(self) -> ComposeResult:
        """Everything; which of it is shown where is for the style sheet."""
        yield Line(id="protocol")
        yield Rows(id="scores")
        with Container(id="plots"):
            yield Rows(id="errors")
            with Container(id="fields"):
                yield Line(id="example")
                yield FieldPicture()

    @property
    def settled(self) -> bool:
        """Whether the files have been read."""
        return super().settled and not self._reading

    def show(self, view: RunView | None) -> None:
        """Read the reports when the run has been evaluated since they were read."""
        followed = self.ups.followed
        if followed is None or view is None:
            self._read = None
            self._forget("No run is followed." if followed is None else f"Reading {followed.name} ...")
            return
        evaluated = 0 if view.evaluation is None else view.evaluation.seq
        if self._read != (str(followed.path), evaluated):
            self._read = (str(followed.path), evaluated)
            self._reading = True
            read = partial(self._load, followed)
            self.run_worker(read, group="reports", exclusive=True, thread=True, exit_on_error=False)

    def on_screen_resume(self) -> None:
        """Read the reports again: `ups evaluate` may have written new ones, of which no event tells."""
        self._read = None
        super().on_screen_resume()

    def label(self, action: Action) -> str:
        """Offer what there is to choose from."""
        if self._counts.get(action.id.removesuffix("_after"), 2) < 2:
            return ""
        if action.id == "plot":
            large = self.has_class("-tall") and not self.has_class("-narrow")
            return "" if large or self._report is None else "errors" if self._fields_in_front else "fields"
        return super().label(action)

    def copyable(self) -> str | None:
        """The report's file."""
        followed = self.ups.followed
        return None if followed is None or self._report is None else str(followed.reports / "evaluation.json")

    def action_plot(self) -> None:
        """Turn between the errors and the fields, where only one of them has room."""
        self._fields_in_front = not self._fields_in_front
        self.set_class(self._fields_in_front, "-fields")
        self.refresh_keys()

    def action_trajectory(self) -> None:
        """Show the next trajectory."""
        self._choose(replace(self._choice, trajectory=(self._choice.trajectory + 1) % self._counts["trajectory"]))

    def action_field(self) -> None:
        """Show the next field."""
        self._choose(replace(self._choice, field=(self._choice.field + 1) % self._counts["field"]))

    def action_frame_before(self) -> None:
        """Go back a frame."""
        self._go(-1)

    def action_frame_after(self) -> None:
        """Go on a frame."""
        self._go(1)

    @property
    def _counts(self) -> dict[str, int]:
        """How many there are of each to choose from; of frames one where time is in the picture."""
        examples = self._examples
        if examples is None:
            return {"trajectory": 1, "field": 1, "frame": 1}
        frames = 1 if len(examples.coordinates) == 1 else len(examples.frames)
        return {"trajectory": len(examples.trajectories), "field": len(examples.fields), "frame": frames}

    def _go(self, frames: int) -> None:
        if (count := self._counts["frame"]) > 1:
            self._choose(replace(self._choice, frame=min(max(self._choice.frame + frames, 0), count - 1)))

    def _load(self, run: RunDirectory) -> None:
        """Read the files; in a thread, for a network may be slow."""
        path = run.reports / "evaluation.json"
        try:
            report = EvaluationReport.read(path) if path.exists() else None
            flaw = None if report is None else report_flaw(run, path)
        except RunError as problem:
            self.app.call_from_thread(self._forget, f"{problem.message}\n{problem.hint}")
            return
        try:
            examples, missing = Examples.read(examples_path(path)), ""
        except RunError as problem:
            examples, missing = None, f"{problem.message}; {problem.hint}"
        self.app.call_from_thread(self._take, report, examples, missing, flaw)

    def _take(self, report: EvaluationReport | None, examples: Examples | None, missing: str, flaw: str | None) -> None:
        self._reading = False
        if report is None:
            followed = self.ups.followed
            name = "RUN" if followed is None else followed.name
            self._forget(
                f"{name} has not been evaluated yet. Its last stage does that; `ups evaluate {name}` does it now,"
                " as soon as its operator is trained."
            )
            return
        self._report, self._examples = report, examples
        self.query_one("#plots").display = True
        self.query_one("#protocol", Line).put(_protocol(report, flaw))
        self.query_one("#errors", Rows).show(partial(error_by_frame, report))
        if examples is None:
            self.query_one("#scores", Rows).show(partial(scores, report, None))
            self.query_one("#example", Line).put(missing)
            self.query_one(FieldPicture).tell(None, self._choice)
        else:
            last = len(examples.frames) - 1
            self._choose(
                Choice(
                    min(self._choice.trajectory, len(examples.trajectories) - 1),
                    min(self._choice.field, len(examples.fields) - 1),
                    min(self._choice.frame, last) or last,
                )
            )
        self.refresh_keys()

    def _forget(self, sentence: str) -> None:
        """Show a sentence instead of results."""
        self._reading = False
        self._report = self._examples = None
        self.query_one("#protocol", Line).put(sentence)
        self.query_one("#scores", Rows).show(partial(scores, None, None))
        self.query_one("#plots").display = False
        self.refresh_keys()

    def _choose(self, choice: Choice) -> None:
        examples = self._examples
        if examples is not None:
            self._choice = choice
            self.query_one("#scores", Rows).show(partial(scores, self._report, examples.fields[choice.field]))
            self.query_one("#example", Line).put(_example(examples, choice))
            self.query_one(FieldPicture).tell(examples, choice)


def _protocol(report: EvaluationReport, flaw: str | None) -> Content:
    protocol, steady = report.protocol, report.steady_prior
    grid = " x ".join(map(str, protocol.resolution))
    parts = [
        f"{protocol.split} split: {protocol.trajectories} trajectories of {protocol.frames} frames"
        f" ({protocol.initial_steps} given) on {grid} points",
        f"reconstruction {short_figure(report.reconstruction.nrmse)}",
    ]
    if worst := report.variants[report.selected].rollout.worst:
        parts.append(f"worst field {worst}")
    if steady is not None:
        parts.append(
            f"steady prior {short_figure(steady.nrmse)} (persistence {short_figure(steady.persistence.nrmse)})"
        )
    if report.left_out:
        parts.append(f"left out {', '.join(report.left_out)}")
    warning = [] if flaw is None else [(f"{flaw}: evaluate again\n", "$warning")]
    return Content.assemble(*warning, ("; ".join(parts), "$muted"))


def _example(examples: Examples, choice: Choice) -> Content:
    """Which trajectory, field and frame are shown, by whom they were predicted, and how far off that was."""
    unit = examples.units[choice.field]
    name = examples.fields[choice.field] + (f" in {unit}" if unit else "")
    place = f"{choice.trajectory + 1}/{len(examples.trajectories)}"
    start = f"{name}, {examples.split} trajectory {examples.trajectories[choice.trajectory]} ({place})"
    first, last = (short_figure(float(examples.time[at])) for at in (0, -1))
    if len(examples.coordinates) == 1:
        return Content.assemble(
            start, (f"  by {examples.variant}; x across, time {first} to {last} downward", "$muted")
        )
    frame = int(examples.frames[choice.frame])
    slider = bar(choice.frame / max(1, len(examples.frames) - 1), _SLIDER)
    given = ", given" if frame < examples.given else ""
    slice_ = ", middle slice" if len(examples.coordinates) > 2 else ""
    return Content.assemble(
        start,
        (f"  by {examples.variant}{slice_}  ", "$muted"),
        (slider, "$primary"),
        f" frame {frame}, t = {short_figure(float(examples.time[choice.frame]))} of {last}{given}",
    )
