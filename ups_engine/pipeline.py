"""A run from beginning to end: its stages in order, its events, its resumption, its stopping.

`start_run` makes the run's folder, `run_pipeline` does the work in this process.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Any

from torch import Tensor

from ups_engine.config.archive import settings_from_toml, settings_to_toml
from ups_engine.config.schema import Settings
from ups_engine.data.dataset import prepare_data
from ups_engine.errors import TrainingError, UpsError
from ups_engine.evaluation.report import EvaluationReport
from ups_engine.plan import PlannedStage, check_ahead, check_needs, make_plan, planned_before
from ups_engine.runs.checkpoints import ResumeStore, has_result, settle_results
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.events import EventWriter, Heartbeat, Kind
from ups_engine.runs.lease import Lease
from ups_engine.runs.signals import StopRequest
from ups_engine.stages.base import Stage
from ups_engine.stages.context import StageContext
from ups_engine.stages.evaluation import evaluate
from ups_engine.stages.registry import TRAINING_STAGES
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import process_memory
from ups_engine.training.control import Action
from ups_engine.training.loop import Trainer
from ups_engine.training.machine import pick_device, set_precision

EVALUATION_FILE = "evaluation.json"


class Outcome(Enum):
    """How a run left."""

    FINISHED = "finished"
    STOPPED = "stopped"
    """Asked to; resumable."""


class Observer:
    """Hears what a run in this process does; for progress on the terminal. Does nothing by itself."""

    def event(
        self, kind: Kind, stage: str | None, epoch: int | None, step: int | None, data: Mapping[str, Any]
    ) -> None:
        """An event was written."""

    def notice(self, sentence: str) -> None:
        """The run says what it found, chose or made."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Work outside the step loop goes on."""


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
    described: dict[str, Any] = {
        "settings_toml": settings_to_toml(settings),
        "origins": origins,
        "argv": argv,
        "task": settings.data.task,
    }
    if folder is not None:
        return RunDirectory.create_at(folder, **described)
    return RunDirectory.create(Path(settings.runs.root), settings.runs.name, **described)


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
    settings = run_settings(run)
    earlier = planned_before(run)
    plan = make_plan(settings, only=only, skip=skip, earlier=earlier)
    with ExitStack() as stack:
        stack.enter_context(Lease.acquire(run))
        settle_results(run)
        check_needs(plan, run)
        stop = stack.enter_context(StopRequest())
        events = stack.enter_context(EventWriter(run.events))
        return _Pipeline(run, settings, plan, events, stop, observer or Observer()).run(
            stack, resumed=earlier is not None
        )


class _Pipeline:
    """One process's work on a run."""

    def __init__(
        self,
        run: RunDirectory,
        settings: Settings,
        plan: Sequence[PlannedStage],
        events: EventWriter,
        stop: StopRequest,
        observer: Observer,
    ) -> None:
        self._run, self._settings, self._plan = run, settings, plan
        self._events, self._stop, self._observer = events, stop, observer
        self._stage: str | None = None
        self._throughput: float | None = None
        self._resume = ResumeStore(run.resume)

    def run(self, stack: ExitStack, *, resumed: bool) -> Outcome:
        """Work through the plan and mark how it ended."""
        try:
            device = pick_device(self._settings.runtime)
            set_precision(self._settings.training, device)
            saved = self._resume.load()
            for sentence in self._resume.damaged:
                self._warn(f"passed over a damaged resumable state: {sentence}")
            self._announce(str(device), saved, resumed=resumed)
            stack.enter_context(Heartbeat(self._events, self._vital_signs))
            dataset = prepare_data(self._settings, self._run.data_record(), self._notice)
            if self._run.data_record() is None:
                self._run.write_data_record(dataset.record())
            context = StageContext(
                self._settings, self._run, dataset, device, notify=self._notice, progress=self._progress
            )
            outcome = self._stages(context, saved)
        except _StopError:
            outcome = Outcome.STOPPED
        except UpsError as error:
            self._emit("run_failed", stage=self._stage, data={"error": error.message, "hint": error.hint})
            raise
        except Exception as error:
            self._emit("run_failed", stage=self._stage, data={"error": f"{type(error).__name__}: {error}"})
            raise
        self._emit("run_finished", data={"outcome": outcome.value})
        return outcome

    def _announce(self, device: str, saved: State | None, *, resumed: bool) -> None:
        stages = [{"name": stage.name, "epochs": stage.epochs} for stage in self._plan]
        if not resumed:
            self._emit("run_started", data={"stages": stages, "device": device})
            return
        at = {"stage": None, "epoch": None, "step": None}
        if saved is not None:
            progress = saved[1]["progress"]
            at = {"stage": saved[1]["stage"], "epoch": progress["epoch"], "step": progress["total_step"]}
        self._emit("run_resumed", data={"after": "restart", **at, "stages": stages})

    def _stages(self, context: StageContext, saved: State | None) -> Outcome:
        trained = {stage.name: stage for stage in TRAINING_STAGES}
        for planned in self._plan:
            self._stage = planned.name
            if planned.skip is not None:
                self._emit("stage_skipped", stage=planned.name, data={"reason": planned.skip})
            elif planned.name not in trained:
                self._evaluate(context)
            else:
                state = saved if saved is not None and saved[1]["stage"] == planned.name else None
                if state is None and all(has_result(self._run, name) for name in trained[planned.name].writes):
                    self._notice(f"{planned.name}: done already")
                elif self._train(context, trained[planned.name], state) is Action.LEAVE:
                    return Outcome.STOPPED
            self._check_stop()
        self._stage = None
        return Outcome.FINISHED

    def _train(self, context: StageContext, stage: Stage, state: State | None) -> Action:
        at = state[1]["progress"] if state is not None else {"epoch": 0, "total_step": 0}
        settings = stage.settings(context)
        self._emit(
            "stage_started",
            stage=stage.name,
            epoch=at["epoch"],
            step=at["total_step"],
            data={"epochs": settings.epochs},
        )
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
        seconds = end.progress.seconds + time.monotonic() - began if state is not None else time.monotonic() - began
        data = {"best": best, "seconds": seconds}
        self._emit("stage_finished", stage=stage.name, data=data | ({"reason": end.reason} if end.reason else {}))
        return Action.GO_ON

    def _evaluate(self, context: StageContext) -> None:
        self._emit("stage_started", stage="evaluation", data={"epochs": 1})
        began, settings = time.monotonic(), self._settings.stages.evaluation
        report = evaluate(context, split=settings.split, initial_steps=settings.initial_steps, between=self._check_stop)
        report.write(self._run.reports / EVALUATION_FILE)
        self._emit("evaluation", stage="evaluation", data=_summary(report))
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

    def _warn(self, message: str) -> None:
        self._emit("warning", stage=self._stage, data={"message": message})

    def _notice(self, sentence: str) -> None:
        self._check_stop()
        self._observer.notice(sentence)

    def _progress(self, what: str, done: int, total: int) -> None:
        self._check_stop()
        self._observer.progress(what, done, total)

    def _vital_signs(self) -> dict[str, object]:
        gpus = [
            {
                "index": gpu.index,
                "name": gpu.name,
                "used_bytes": gpu.total_bytes - gpu.free_bytes,
                "total_bytes": gpu.total_bytes,
                "utilisation": gpu.utilisation,
                "temperature": gpu.temperature,
                "power": gpu.power,
            }
            for gpu in gpu_devices()
        ]
        return {"ram_bytes": process_memory().resident_bytes, "gpu": gpus, "throughput": self._throughput}


def _summary(report: EvaluationReport) -> dict[str, object]:
    variants = {name: variant.model_dump(mode="json") for name, variant in report.variants.items()}
    for variant in variants.values():
        del variant["rollout"]["nrmse_by_frame"]
    return {"selected": report.selected, "variants": variants}
