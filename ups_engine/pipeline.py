"""A run from beginning to end: its stages in order, its events, its resumption, its stopping.

`start_run` makes the run's folder, `run_pipeline` does the work in this process.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ups_engine.announce import data_sentence, device_sentence, evaluation_summary, vital_signs
from ups_engine.config.archive import settings_from_toml, settings_to_toml
from ups_engine.config.schema import Settings
from ups_engine.data.dataset import prepare_data
from ups_engine.errors import CheckpointError, RunError, TrainingError, UpsError
from ups_engine.observer import Observer
from ups_engine.plan import EVALUATION_FILE, Past, PlannedStage, check_ahead, check_needs, make_plan
from ups_engine.runs.checkpoints import ResumeStore, load_result, settle_results
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.events import EventWriter, Heartbeat, Kind
from ups_engine.runs.lease import Lease
from ups_engine.runs.signals import StopRequest
from ups_engine.stages.base import Stage
from ups_engine.stages.context import StageContext
from ups_engine.stages.evaluation import evaluate
from ups_engine.stages.networks import described, differences
from ups_engine.stages.registry import TRAINING_STAGES
from ups_engine.training.control import Action
from ups_engine.training.loop import Trainer
from ups_engine.training.machine import pick_device, set_precision


class Outcome(Enum):
    """How a run left."""

    FINISHED = "finished"
    STOPPED = "stopped"
    """Asked to; resumable."""


State = tuple[dict[str, Tensor], dict[str, Any]]


class _StopError(Exception):
    """A stop was asked for outside the step loop."""


def start_run(
    settings: Settings, *, origins: Mapping[str, str], argv: Sequence[str], folder: Path | None = None
) -> RunDirectory:
    """Make the folder of a new run.

    Args:
        settings: archived with it.
        origins: the layer that each value came from.
        argv: command line that started it.
        folder: absent or empty; None makes one under `runs.root`, by `runs.name` or task and time.

    Raises:
        RunError: the folder is taken, or the disk refuses.
        DataError, SettingsError: the run could not come to its end; nothing was made (see `plan.check_ahead`).
    """
    check_ahead(settings)
    archived: dict[str, Any] = {"settings_toml": settings_to_toml(settings), "origins": origins, "argv": argv}
    if folder is not None:
        return RunDirectory.create_at(folder, task=settings.data.task, **archived)
    return RunDirectory.create(Path(settings.runs.root), settings.runs.name, task=settings.data.task, **archived)


def run_settings(run: RunDirectory) -> Settings:
    """The settings that a run was started with."""
    return settings_from_toml(run.settings_toml, str(run.path / "settings.toml"))


def run_pipeline(
    run: RunDirectory, *, only: Sequence[str] = (), skip: Sequence[str] = (), observer: Observer | None = None
) -> Outcome:
    """Start or resume a run and work through its stages in this process.

    Args:
        run: made by `start_run`, now or earlier.
        only: stages to run; none means all, or on resumption those planned before.
        skip: stages to leave out.
        observer: hears every event.

    Raises:
        UpsError: whatever the user can mend; the run is marked as failed.
        KeyboardInterrupt: interrupted a second time; the run can be resumed.
    """
    observer = observer or Observer()
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        stack.enter_context(Lease.acquire(run))
        settle_results(run)
        past = Past(run)
        plan = make_plan(run_settings(run), only=only, skip=skip, earlier=past.planned)
        check_needs(plan, run)
        if past.nothing_left(plan, only):
            observer.notice(f"run {run.name} is finished already; nothing is left to do")
            return Outcome.FINISHED
        events = stack.enter_context(EventWriter(run.events))
        return _Pipeline(run, plan, past, events, stop, observer).run(stack, asked=only)


class _Pipeline:
    """One process's work on a run."""

    def __init__(
        self,
        run: RunDirectory,
        plan: Sequence[PlannedStage],
        past: Past,
        events: EventWriter,
        stop: StopRequest,
        observer: Observer,
    ) -> None:
        self._run, self._settings, self._plan, self._past = run, run_settings(run), plan, past
        self._events, self._stop, self._observer = events, stop, observer
        self._stage: str | None = None
        self._throughput: float | None = None
        self._resume = ResumeStore(run.resume)

    def run(self, stack: ExitStack, *, asked: Collection[str]) -> Outcome:
        """Work through the plan, `asked` being the stages named by the user, and mark how it ended."""
        try:
            device = pick_device(self._settings.runtime)
            set_precision(self._settings.training, device)
            saved = self._announce(device)
            stack.enter_context(Heartbeat(self._events, lambda: vital_signs(self._throughput)))
            dataset = prepare_data(self._settings, self._run.data_record(), self._notice, self._check_stop)
            if self._run.data_record() is None:
                self._run.write_data_record(dataset.record())
            self._notice(data_sentence(dataset))
            context = StageContext(
                self._settings,
                self._run,
                dataset,
                device,
                notify=self._notice,
                warn=self._warn,
                progress=self._progress,
            )
            outcome = self._stages(context, saved, asked)
        except _StopError:
            outcome = Outcome.STOPPED
        except KeyboardInterrupt:
            self._last_word("run_finished", {"outcome": Outcome.STOPPED.value})
            raise
        except UpsError as error:
            self._last_word("run_failed", {"error": error.message, "hint": error.hint})
            raise
        except Exception as error:
            self._last_word("run_failed", {"error": f"{type(error).__name__}: {error}"})
            raise
        self._emit("run_finished", data={"outcome": outcome.value})
        return outcome

    def _announce(self, device: torch.device) -> State | None:
        """Say that the run begins or goes on; gives the saved state of the stage to go on with, if there is one."""
        saved = self._resume.load()
        skipped = {stage.name for stage in self._plan if stage.skip is not None}
        going_on = saved if saved is None or saved[1]["stage"] not in skipped else None
        kept = {name for name in skipped if self._past.done(name)}
        stages = [{"name": stage.name, "epochs": stage.epochs} for stage in self._plan if stage.name not in kept]
        if self._past.planned is None:
            self._emit("run_started", data={"stages": stages, "device": str(device)})
        else:
            at = {"stage": None, "epoch": None, "step": None}
            if going_on is not None:
                progress = going_on[1]["progress"]
                at = {"stage": going_on[1]["stage"], "epoch": progress["epoch"], "step": progress["total_step"]}
            self._emit("run_resumed", data={"after": "restart", **at, "stages": stages})
        self._notice(device_sentence(device))
        for sentence in self._resume.damaged:
            self._warn(f"passed over a damaged resumable state: {sentence}")
        if saved is not None and going_on is None:
            self._warn(f"stage {saved[1]['stage']} is half done; its state is lost once another stage saves one")
        return going_on

    def _stages(self, context: StageContext, saved: State | None, asked: Collection[str]) -> Outcome:
        trained = {stage.name: stage for stage in TRAINING_STAGES}
        past, changed = self._past, False
        for planned in self._plan:
            name = self._stage = planned.name
            if planned.skip is not None:
                if not past.done(name):
                    self._emit("stage_skipped", stage=name, data={"reason": planned.skip})
                continue
            self._check_stop()
            state = saved if saved is not None and saved[1]["stage"] == name else None
            if name not in trained:
                if changed or name in asked or not past.done(name) or not past.has_results(name):
                    self._evaluate(context)
                else:
                    self._notice(f"{name}: done already")
            elif state is None and past.has_results(name):
                self._notice(f"{name}: done already")
                if not past.done(name):  # killed between the last result and the word about it
                    metrics = load_result(self._run, trained[name].writes[0])[1]["metrics"]
                    data = {"best": metrics["score"], "seconds": past.seconds(name)}
                    self._emit("stage_finished", stage=name, data=data)
            elif self._train(context, trained[name], state) is Action.LEAVE:
                return Outcome.STOPPED
            else:
                changed = True
        self._stage = None
        return Outcome.FINISHED

    def _train(self, context: StageContext, stage: Stage, state: State | None) -> Action:
        at = state[1]["progress"] if state is not None else {"epoch": 0, "total_step": 0, "seconds": 0.0}
        made_with = described(self._settings, stage.writes[0])
        if state is not None and (differing := differences(state[1]["settings"], made_with)):
            raise CheckpointError(
                f"the resumable state of stage {stage.name} was made with other {', '.join(differing)}",
                f"put the settings back, or remove {self._run.resume} to begin the stage anew",
            )
        self._resume.stamp = {"settings": made_with}
        settings = stage.settings(context)
        begins = {"epoch": at["epoch"], "step": at["total_step"]}
        self._emit("stage_started", stage=stage.name, **begins, data={"epochs": settings.epochs})
        began = time.monotonic()
        task = stage.make(context)
        trainer = Trainer(
            stage.name,
            task,
            settings,
            self._settings.training,
            seed=self._settings.seed,
            device=context.device,
            resume=self._resume,
            emit=lambda kind, **fields: self._emit(kind, stage=stage.name, **fields),
            control=self,
        )
        end = trainer.run(state)
        if end.action is Action.LEAVE:
            return end.action
        best = end.progress.best
        if best is None:
            raise TrainingError(
                f"stage {stage.name}: no validation gave a finite score, so there are no weights worth keeping",
                "lower the learning rate, or look at the warnings of this stage in the run's log",
            )
        for name, network in task.results(trainer.network, trainer.averaged.module).items():
            context.save(name, network, stage.name, {"score": best, **end.progress.best_metrics})
        self._emit("checkpoint", stage=stage.name, data={"files": list(stage.writes)})
        if verdict := task.verdict(end.progress.best_metrics):
            self._warn(verdict)
        self._resume.clear()
        context.release()
        data = {"best": best, "seconds": at["seconds"] + time.monotonic() - began}
        self._emit("stage_finished", stage=stage.name, data=data | ({"reason": end.reason} if end.reason else {}))
        return Action.GO_ON

    def _evaluate(self, context: StageContext) -> None:
        self._emit("stage_started", stage="evaluation", data={"epochs": 1})
        began, settings = time.monotonic(), self._settings.stages.evaluation
        found = evaluate(context, split=settings.split, initial_steps=settings.initial_steps, between=self._check_stop)
        found.write(self._run.reports / EVALUATION_FILE)
        report = found.report
        self._emit("evaluation", stage="evaluation", data=evaluation_summary(report))
        if report.selected == "persistence":
            self._warn("on the validation split nothing that was trained predicts better than persistence")
        context.release()
        selected = report.variants[report.selected].rollout.nrmse
        self._emit("stage_finished", stage="evaluation", data={"best": selected, "seconds": time.monotonic() - began})

    def next_action(self) -> Action:
        """Answer the step loop."""
        return Action.LEAVE if self._stop.made else Action.GO_ON

    def _check_stop(self) -> None:
        if self._stop.made:
            raise _StopError

    def _emit(self, kind: Kind, **fields: Any) -> None:
        data = fields.get("data") or {}
        if kind == "step":
            self._throughput = data.get("throughput")
        self._events.emit(kind, **fields)
        self._observer.event(kind, fields.get("stage"), fields.get("epoch"), fields.get("step"), data)

    def _last_word(self, kind: Kind, data: Mapping[str, object]) -> None:
        with suppress(RunError):  # of two errors, such as on a full disk, the first is the one to tell
            self._emit(kind, stage=self._stage, data=data)

    def _warn(self, message: str) -> None:
        self._emit("warning", stage=self._stage, data={"message": message})

    def _notice(self, sentence: str) -> None:
        self._check_stop()
        self._observer.notice(sentence)

    def _progress(self, what: str, done: int, total: int) -> None:
        self._check_stop()
        self._observer.progress(what, done, total)
