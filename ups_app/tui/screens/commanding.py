"""What can be done to a run, on every screen that shows one."""

from functools import partial

from ups_app.tui.actions import Action
from ups_app.tui.screens.base import UpsScreen
from ups_engine.runs.commands import CommandKind
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import LIVE
from ups_engine.runs.state import RunState

PAUSE = Action("pause", "p", "pause", "pause the run, or go on after a pause", True)
SKIP = Action(
    "skip",
    "s",
    "skip",
    "leave out the highlighted stage",
    True,
    "Skip {stage} while it is running? What it has trained is lost.",
)
FINISH = Action(
    "finish",
    "f",
    "finish",
    "end the running stage now, with its best weights",
    True,
    "Finish {stage} now? Its best weights are kept, its remaining epochs are not trained.",
)
PARK = Action("park", "k", "park", "save, free the GPU and leave; resume goes on later", True)
STOP = Action("stop", "x", "stop", "save and stop the run; resume goes on later", True)
RESUME = Action("resume", "r", "resume", "go on with a run that is parked, stopped, failed or lost", True)
_LIVE_ONLY = (PAUSE, SKIP, FINISH, PARK, STOP)
COMMANDS = (*_LIVE_ONLY, RESUME)


class RunCommands(UpsScreen):
    """A screen with a run in it that takes commands."""

    def target(self) -> tuple[RunDirectory, RunState] | None:
        """The run that is meant and its state; the followed one unless a screen says otherwise."""
        app = self.ups
        return None if app.followed is None or app.view is None else (app.followed, app.view.state)

    def stage(self) -> str | None:
        """The highlighted stage; None where no stage is highlighted, which means the running one."""
        return None

    def label(self, action: Action) -> str:
        """Offer what the run's state allows."""
        target = self.target()
        state = None if target is None else target[1].state
        if action in _LIVE_ONLY and state not in LIVE:
            return ""
        if action is PAUSE and state == "paused":
            return "go on"
        if action is RESUME and (state is None or state in (*LIVE, "finished")):
            return ""
        return action.label

    def action_pause(self) -> None:
        """Pause, or go on."""
        target = self.target()
        paused = target is not None and target[1].state == "paused"
        self._command("resume" if paused else "pause")

    def action_skip(self) -> None:
        """Leave a stage out; asks when it is the running one."""
        running, stage = self._under_way(), self.stage()
        if running is not None and stage in (None, running):
            self.ups.confirm(SKIP.loses.format(stage=running), partial(self._command, "skip_stage", running))
        else:
            self._command("skip_stage", stage)

    def action_finish(self) -> None:
        """End the running stage now."""
        if (running := self._under_way()) is not None:
            self.ups.confirm(FINISH.loses.format(stage=running), partial(self._command, "finish_stage", running))
        else:
            self._command("finish_stage")

    def action_park(self) -> None:
        """Save, free the GPU and leave."""
        self._command("park")

    def action_stop(self) -> None:
        """Save and stop."""
        self._command("stop")

    def action_start(self) -> None:
        """Start the highlighted stage; a run that is down is resumed."""
        target, stage = self.target(), self.stage()
        if target is None:
            return
        if target[1].state not in LIVE:
            self.action_resume()
        elif stage is None:
            self.ups.tell("no stage is highlighted")
        else:
            self._command("start_stage", stage)

    def action_resume(self) -> None:
        """Go on with a run: after a pause by a command, else in a new process."""
        target = self.target()
        if target is None:
            return
        run, state = target
        if state.state == "paused":
            self._command("resume")
        elif state.state in LIVE:
            self.ups.tell(f"run {run.name} is {state.state} already")
        else:
            stage = self.stage() if state.state == "finished" else None
            self.run_worker(self._launch(run, stage), group="resume", exclusive=True, exit_on_error=False)

    async def _launch(self, run: RunDirectory, stage: str | None) -> None:
        self.ups.tell(f"resuming {run.name}")
        done = await self.ups.ups("runs", "resume", str(run.path), *(("--stage", stage) if stage else ()))
        text = "\n".join(done.error) if done.code else f"run {run.name} goes on"
        self.ups.tell(text, problem=done.code != 0)

    def _command(self, kind: CommandKind, stage: str | None = None) -> None:
        target = self.target()
        if target is None:
            self.ups.tell("there is no run here", problem=True)
        else:
            self.ups.command(kind, stage, run=target[0])

    def _under_way(self) -> str | None:
        """The stage under way of a run that lives."""
        target = self.target()
        return target[1].stage if target is not None and target[1].state in LIVE else None
