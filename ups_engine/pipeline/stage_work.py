"""Doing one stage of a run: training it, or evaluating what was trained, with all that is told and kept on the way."""

import time
from typing import Any

from torch import Tensor

from ups_engine.config.schema import StageName
from ups_engine.errors import CheckpointError, TrainingError
from ups_engine.evaluation.soundness import EVALUATION_FILE
from ups_engine.evaluation.table import warnings
from ups_engine.pipeline.announcer import Announcer, evaluation_summary
from ups_engine.pipeline.commands import CommandDesk
from ups_engine.pipeline.plan import EVALUATION
from ups_engine.runs.resume import ResumeStore
from ups_engine.stages.base import StageTask, TrainingStage
from ups_engine.stages.context import StageContext
from ups_engine.stages.evaluation import evaluate
from ups_engine.stages.networks import dependencies, differences
from ups_engine.stages.registry import TRAINING_STAGES, VARIANTS
from ups_engine.stages.scored import NOT_TRAINED
from ups_engine.training.control import Action, StageEnd
from ups_engine.training.loop import Trainer
from ups_engine.training.state import LoopState

Saved = tuple[dict[str, Tensor], dict[str, Any]]
"""A resumable state: tensors and JSON; see `runs.resume`."""


class StageWork:
    """The work of stages.

    Args:
        context: of the run.
        resume: the run's resumable states.
        desk: asked at every boundary.
        announcer: of events.
    """

    def __init__(self, context: StageContext, resume: ResumeStore, desk: CommandDesk, announcer: Announcer) -> None:
        self._context, self._resume, self._desk, self._announcer = context, resume, desk, announcer

    def train(self, name: StageName, state: Saved | None) -> Action:
        """Train a stage, from a resumable state if there is one.

        Returns:
            GO_ON when its results are saved, else SKIP_STAGE or LEAVE as it was asked for.

        Raises:
            CheckpointError: the state was made with other settings.
            TrainingError: nothing worth keeping came out of it.
            LeaveError, SkipError: asked for before its first step.
        """
        stage, context = TRAINING_STAGES[name], self._context
        at = LoopState(**state[1]["progress"]) if state is not None else LoopState()
        self._stamp(stage, state)
        settings = getattr(context.settings.stages, name)
        self._desk.begin(at.epoch, at.total_step)
        data = {"epochs": settings.epochs}
        self._announcer.emit("stage_started", stage=name, epoch=at.epoch, step=at.total_step, data=data)
        began = self._now()
        task = stage.make(context)
        trainer = Trainer(
            name,
            task,
            settings,
            context.settings.training,
            seed=context.settings.seed,
            device=context.device,
            resume=self._resume,
            emit=lambda kind, **fields: self._announcer.emit(kind, stage=name, **fields),
            control=self._desk,
        )
        self._desk.stepping = True
        try:
            end = trainer.run(state)
        finally:
            self._desk.stepping = False
        if end.action is Action.GO_ON:
            self._keep(stage, task, trainer, end, at.seconds + self._now() - began)
        return end.action

    def evaluate(self) -> Action:
        """Evaluate what was trained and write the report.

        Raises:
            LeaveError, SkipError: asked for.
        """
        context, say = self._context, self._announcer
        self._desk.begin(0, 0)
        say.emit("stage_started", stage=EVALUATION, data={"epochs": 1})
        began, settings = self._now(), context.settings.stages.evaluation
        evaluation = evaluate(context, VARIANTS, split=settings.split, initial_steps=settings.initial_steps)
        evaluation.write(context.run, context.run.reports / EVALUATION_FILE)
        report = evaluation.report
        say.emit("evaluation", stage=EVALUATION, data=evaluation_summary(report))
        for name, reason in report.left_out.items():
            if reason != NOT_TRAINED:
                say.warn(f"{name} is left out of the evaluation, for {reason}")
        for warning in warnings(report):
            say.warn(warning)
        context.release()
        data = {"best": report.variants[report.selected].rollout.nrmse, "seconds": self._now() - began}
        say.emit("stage_finished", stage=EVALUATION, data=data)
        return Action.GO_ON

    def _now(self) -> float:
        """A clock that stands still while the run is paused."""
        return time.monotonic() - self._desk.held

    def _stamp(self, stage: TrainingStage, state: Saved | None) -> None:
        """Mark resumable states with the settings, networks and results they depend on, and refuse one of others."""
        made_with, version = dependencies(self._context.settings, stage.results[0]), stage.version
        if state is not None and state[1].get("version", 1) < version:
            raise CheckpointError(
                f"the resumable state of stage {stage.name} is of an earlier UPS, which computed otherwise",
                f"go on with that UPS, or remove {self._context.run.resume} to begin the stage anew with this one",
            )
        if state is not None and (differing := differences(state[1]["settings"], made_with)):
            raise CheckpointError(
                f"the resumable state of stage {stage.name} was made with other {', '.join(differing)}",
                f"put the settings back, or remove {self._context.run.resume} to begin the stage anew",
            )
        origins = self._context.results.origins(stage.results[0])
        if state is not None and (differing := differences(state[1].get("trained_on", origins), origins)):
            raise CheckpointError(
                f"the resumable state of stage {stage.name} was made with another {', '.join(differing)} than the run"
                " has now",
                f"put that back, or remove {self._context.run.resume} to begin the stage anew",
            )
        self._resume.stamp = {"settings": made_with, "version": version, "trained_on": origins}

    def _keep(self, stage: TrainingStage, task: StageTask, trainer: Trainer, end: StageEnd, seconds: float) -> None:
        """Save a stage's results and say so."""
        say, best = self._announcer, end.at.best
        if best is None:
            raise TrainingError(
                f"stage {stage.name}: no validation gave a finite score, so there are no weights worth keeping",
                "lower the learning rate, or look at the warnings of this stage in the run's log",
            )
        for name, network in task.results(trainer.network, trainer.averaged.module).items():
            self._context.results.save(name, network, stage.name, {"score": best, **end.at.best_metrics})
        say.emit("checkpoint", stage=stage.name, data={"files": list(stage.results)})
        if verdict := task.verdict(end.at.best_metrics):
            say.warn(verdict)
        self._resume.clear()
        self._context.release()
        data = {"best": best, "seconds": seconds}
        say.emit("stage_finished", stage=stage.name, data=data | ({"reason": end.reason} if end.reason else {}))
