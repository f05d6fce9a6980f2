"""One tiny run, trained by the real pipeline, whose results every stage's tests share."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ups_engine.config.layers import load_settings
from ups_engine.data.member import Member
from ups_engine.data.prepare import prepare_data
from ups_engine.pipeline import Outcome, run_pipeline, start_run
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.resume import ResumeStore
from ups_engine.stages.base import StageTask
from ups_engine.stages.context import StageContext
from ups_engine.stages.registry import TRAINING_STAGES
from ups_engine.training.control import Action, StageEnd
from ups_engine.training.loop import Trainer
from ups_engine.training.task import Draw

STAGES = {stage.name: stage for stage in TRAINING_STAGES}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Lab:
    """The run and its data; 8 training trajectories of 7 frames on 64 points."""

    folder: Path
    run: RunDirectory
    dataset: Member

    def settings(self, *overrides):
        base = (
            f"data.root={self.folder / 'data'}",
            f"runs.root={self.folder / 'runs'}",
            "data.generate.trajectories=12",
            "data.generate.frames=7",
            "training.batch_size=8",
            "training.checkpoint_interval=1000",
            "training.log_interval=1000",
        )
        return load_settings(
            preset="smoke", overrides=[*base, *overrides], folder=self.folder, env={}, home=self.folder
        ).settings

    def context(self, *overrides):
        """A stage's workplace in the run, under other settings."""
        return StageContext(self.settings(*overrides), self.run, self.dataset, CPU)

    def task(self, stage, *overrides) -> StageTask:
        return STAGES[stage].make(self.context(*overrides))

    def train(self, stage, store: Path, *overrides, leave_after=None) -> tuple[Trainer, StageEnd, StageTask]:
        """Train a stage in memory, going on from what `store` holds; saves no results."""
        context = self.context(*overrides)
        task, resume = STAGES[stage].make(context), ResumeStore(store)
        trainer = Trainer(
            stage,
            task,
            STAGES[stage].settings(context),
            context.settings.training,
            seed=context.settings.seed,
            device=CPU,
            resume=resume,
            emit=lambda kind, **fields: None,
            control=Leaving(leave_after),
        )
        return trainer, trainer.run(resume.load()), task


class Leaving:
    """Asks to leave after a number of steps; never for None."""

    def __init__(self, after):
        self.left = after

    held = 0.0

    def next_action(self, epoch, step):
        if self.left is None:
            return Action.GO_ON
        self.left -= 1
        return Action.LEAVE if self.left < 0 else Action.GO_ON


def make_lab(folder: Path) -> Lab:
    lab = Lab(folder, None, None)
    run = start_run(lab.settings(), origins={}, argv=["test"])
    assert run_pipeline(run) is Outcome.FINISHED
    (member,) = prepare_data(lab.settings(), run.data_record())
    return Lab(folder, run, member)


def draw(epoch=0, step=0, *, total_step=0, progress=0.0, first=0, stage="stage"):
    return Draw(0, stage, epoch, step, total_step, progress, first, CPU)
