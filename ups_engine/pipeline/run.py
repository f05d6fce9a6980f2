"""A run from beginning to end: its stages in order, its events, its resumption, its stopping.

`start_run` makes the run's folder, `run_pipeline` does the work in this process.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ups_engine.config.anchor import anchored
from ups_engine.config.archive import settings_from_toml, settings_to_toml
from ups_engine.config.schema import Settings, StageName
from ups_engine.data.prepare import prepare_data
from ups_engine.errors import UpsError
from ups_engine.pipeline.announcer import Announcer, data_sentence, device_sentence
from ups_engine.pipeline.commands import SKIPPED, CommandDesk, LeaveError, Outcome, SkipError
from ups_engine.pipeline.data_record import enter_data
from ups_engine.pipeline.forecast import Forecast, forecast
from ups_engine.pipeline.observer import Observer
from ups_engine.pipeline.plan import EVALUATION, Agenda, Past, PlannedStage, check_needs, make_plan
from ups_engine.pipeline.stage_work import Saved, StageWork
from ups_engine.runs.checkpoints import settle_results
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.events import EventWriter, heartbeat
from ups_engine.runs.lease import Lease
from ups_engine.runs.resume import ResumeStore
from ups_engine.runs.sidecars import read_sidecar
from ups_engine.runs.signals import StopRequest
from ups_engine.stages.context import StageContext
from ups_engine.stages.host import Host
from ups_engine.stages.registry import STAGE_OF
from ups_engine.training.control import Action
from ups_engine.training.machine import pick_device, set_precision

__all__ = ["Outcome", "run_pipeline", "run_settings", "start_run"]


def start_run(
    settings: Settings, *, origins: Mapping[str, str], argv: Sequence[str], folder: Path | None = None
) -> RunDirectory:
    """Make the folder of a new run.

    Args:
        settings: archived with it.
        origins: the layer that each value came from.
        argv: command line that started it.
        folder: absent or empty; None makes one under `runs.root`, by `runs.name` or the task of the data and the time.

    Raises:
        RunError: the folder is taken, or the disk refuses.
        DataError, SettingsError: the run could not come to its end; nothing was made (see `forecast.forecast`).
    """
    _, surveys = forecast(settings)
    return RunDirectory.create(
        Path(settings.runs.root),
        settings.runs.name,
        settings_toml=settings_to_toml(settings),
        origins=origins,
        argv=argv,
        task="-".join(dict.fromkeys(survey.task for survey in surveys)),
        folder=folder,
    )


def run_settings(run: RunDirectory) -> Settings:
    """The settings that a run was started with, their paths absolute."""
    return anchored(settings_from_toml(run.settings_toml, str(run.path / "settings.toml")), run.record.folder)


def run_pipeline(
    run: RunDirectory, *, only: Sequence[str] = (), skip: Sequence[str] = (), observers: Sequence[Observer] = ()
) -> Outcome:
    """Start or resume a run and work through its stages in this process.

    Args:
        run: made by `start_run`, now or earlier.
        only: stages to run; none means all, or on resumption those planned before.
        skip: stages to leave out.
        observers: hear every event.

    Raises:
        UpsError: whatever the user can mend; the run is marked as failed.
        KeyboardInterrupt: interrupted a second time; the run can be resumed.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        stack.enter_context(Lease.acquire(run))
        settle_results(run)
        run.vouch_for_the_rest()
        past = Past(run)
        settings, record = run_settings(run), run.data_record()
        plan = make_plan(settings, only=only, skip=skip, earlier=past.planned)
        check_needs(plan, run)
        if past.nothing_left(plan, only):
            for observer in observers:
                for sentence in past.unmended(plan):
                    observer.event("warning", None, None, None, {"message": sentence})
                observer.notice(f"run {run.name} is finished already; nothing is left to do")
            return Outcome.FINISHED
        events = stack.enter_context(EventWriter(run.events))
        return _Pipeline(run, settings, record, plan, past, Announcer(events, observers), stop).run(asked=only)


class RunHost(Host):
    """A run as the host of its stages: what they say is announced, and commands may hold them up.

    Args:
        announcer: of the run.
        desk: asked wherever work may be held up.
    """

    def __init__(self, announcer: Announcer, desk: CommandDesk) -> None:
        self._announcer, self._desk = announcer, desk

    def between(self) -> None:
        """See `Host.between`."""
        self._desk.between()

    def warn(self, sentence: str) -> None:
        """See `Host.warn`."""
        self._announcer.warn(sentence)

    def caches(self, facts: Mapping[str, object]) -> None:
        """See `Host.caches`."""
        self._announcer.caches(facts)

    def tell(self, sentence: str) -> None:
        """See `Host.tell`."""
        self.between()
        self._announcer.notice(sentence)

    def advance(self, what: str, done: int, total: int) -> None:
        """See `Host.advance`."""
        self.between()
        self._announcer.progress(what, done, total)


class _Pipeline:
    """One process's work on a run."""

    def __init__(
        self,
        run: RunDirectory,
        settings: Settings,
        record: Mapping[str, Any] | None,
        plan: Sequence[PlannedStage],
        past: Past,
        announcer: Announcer,
        stop: StopRequest,
    ) -> None:
        self._run, self._settings, self._plan, self._past = run, settings, plan, past
        self._record, self._announcer, self._resume = record, announcer, ResumeStore(run.resume)
        self._agenda = Agenda(plan, run, past, settings)
        self._desk = CommandDesk(run, self._agenda, stop, announcer, comeback=past.planned is not None)

    def run(self, *, asked: Collection[str]) -> Outcome:
        """Work through the plan, `asked` being the stages named by the user, and mark how it ended."""
        say = self._announcer
        try:
            device = pick_device(self._settings.runtime)
            set_precision(self._settings.training, device)
            saved = self._announce(device)
            with heartbeat(say.events, say.heartbeat):
                outcome = self._stages(self._prepare(device), saved, asked)
        except LeaveError:
            outcome = self._desk.leaving or Outcome.STOPPED
        except KeyboardInterrupt:
            say.last_word("run_finished", {"outcome": Outcome.STOPPED.value})
            raise
        except UpsError as error:
            say.last_word("run_failed", {"error": error.message, "hint": error.hint})
            raise
        except Exception as error:
            say.last_word("run_failed", {"error": f"{type(error).__name__}: {error}"})
            raise
        finished = outcome is Outcome.FINISHED
        self._desk.close("the run is finished" if finished else f"the run has {outcome.value}", for_good=finished)
        say.emit("run_finished", data={"outcome": outcome.value})
        return outcome

    def _announce(self, device: torch.device) -> Saved | None:
        """Say that the run begins or goes on; gives the saved state of the stage to go on with, if there is one."""
        saved, say = self._resume.load(), self._announcer
        left_out = {stage.name: stage.skip for stage in self._plan if stage.skip is not None}
        going_on = saved if saved is None or saved[1]["stage"] not in left_out else None
        kept = {name for name in left_out if self._past.done(name)}
        stages = [{"name": stage.name, "epochs": stage.epochs} for stage in self._plan if stage.name not in kept]
        if self._past.planned is None:
            say.emit("run_started", data={"stages": stages, "device": str(device)})
        else:
            at: dict[str, Any] = {"stage": None, "epoch": None, "step": None}
            if going_on is not None:
                progress = going_on[1]["progress"]
                at = {"stage": going_on[1]["stage"], "epoch": progress["epoch"], "step": progress["total_step"]}
            say.emit("run_resumed", data={"after": "restart", **at, "stages": stages})
        for name, reason in left_out.items():
            if name not in kept:
                say.emit("stage_skipped", stage=name, data={"reason": reason})
        say.notice(device_sentence(device))
        for sentence in self._resume.damaged:
            say.warn(f"passed over a damaged resumable state: {sentence}")
        for sentence in self._past.unmended(self._plan):
            say.warn(sentence)
        if saved is not None and going_on is None:
            say.warn(f"stage {saved[1]['stage']} is half done; its state is lost once another stage saves one")
        return going_on

    def _prepare(self, device: torch.device) -> StageContext:
        """Open the data and lay out the workplace of the stages."""
        host, record = RunHost(self._announcer, self._desk), self._record
        collection = prepare_data(self._settings, record, host.tell, host.advance)
        enter_data(self._run, collection)
        for member in collection.members:
            host.tell(data_sentence(member))
        working = Forecast(self._settings, collection.members).working_bytes(device)
        return StageContext(self._settings, self._run, collection, device, host=host, working=working)

    def _stages(self, context: StageContext, saved: Saved | None, asked: Collection[str]) -> Outcome:
        agenda, say = self._agenda, self._announcer
        work = StageWork(context, self._resume, self._desk, say)
        changed = False
        while agenda.waiting:
            self._desk.between()
            name = say.stage = agenda.next()
            if name is None:  # what waited was skipped
                break
            state = saved if saved is not None and saved[1]["stage"] == name else None
            if self._settled(name, again=name == EVALUATION and (changed or name in asked), begun=state is not None):
                agenda.end(done=True)
                continue
            try:
                action = work.evaluate() if name == EVALUATION else work.train(name, state)
            except SkipError:
                action = Action.SKIP_STAGE
            if action is Action.LEAVE:
                return self._desk.leaving or Outcome.STOPPED
            if action is Action.SKIP_STAGE:
                say.emit("stage_skipped", stage=name, data=SKIPPED)
                if (left := self._resume.load()) is not None and left[1]["stage"] == name:
                    self._resume.clear()
                context.release()
            changed = changed or (action is Action.GO_ON and name != EVALUATION)
            agenda.end(done=action is Action.GO_ON)
        say.stage = None
        return Outcome.FINISHED

    def _settled(self, name: StageName, *, again: bool, begun: bool) -> bool:
        """Whether a stage is done and stays so; says so, or why one that was done is done once more.

        Args:
            name: of the stage.
            again: it is to be done even if it was.
            begun: a state of it was saved.
        """
        past, say = self._past, self._announcer
        if again or begun:
            return False
        if not past.has_results(name):
            for sentence in past.once_more([name]):
                say.warn(sentence)
            return False
        if not past.done(name):
            if name == EVALUATION:
                return False
            # killed between the last result and the word about it
            metrics = read_sidecar(self._run, STAGE_OF[name].results[0])["metrics"]
            say.emit("stage_finished", stage=name, data={"best": metrics["score"], "seconds": past.seconds(name)})
        say.notice(f"{name}: done already")
        return True
