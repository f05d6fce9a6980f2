"""Which stages a run goes through, and whether each will find what it needs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ups_engine.config.schema import STAGES, Settings, StageName
from ups_engine.data.foresee import Foreseen, foresee_data
from ups_engine.errors import SettingsError, UsageError
from ups_engine.latents.residency import choose
from ups_engine.models.tokens import TokenGrid
from ups_engine.runs.checkpoints import has_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.state import summarise
from ups_engine.stages import evaluation
from ups_engine.stages.networks import max_horizon
from ups_engine.stages.registry import TRAINING_STAGES
from ups_engine.telemetry.memory import available_memory
from ups_engine.training.machine import pick_device

EVALUATION_FILE = "evaluation.json"
NEEDS: Mapping[str, tuple[str, ...]] = {
    **{stage.name: stage.needs for stage in TRAINING_STAGES},
    "evaluation": evaluation.NEEDS,
}
"""Results that a stage loads."""
WRITES: Mapping[str, tuple[str, ...]] = {**{stage.name: stage.writes for stage in TRAINING_STAGES}, "evaluation": ()}
"""Results that a stage saves."""
MAKERS: Mapping[str, str] = {result: name for name, results in WRITES.items() for result in results}
"""Stages by the results that they save."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a run.

    Attributes:
        name: of the stage.
        epochs: it will train; 0 when it is left out.
        skip: why it is left out, or None.
    """

    name: StageName
    epochs: int
    skip: str | None


def make_plan(
    settings: Settings, *, only: Sequence[str] = (), skip: Sequence[str] = (), earlier: Collection[str] | None = None
) -> tuple[PlannedStage, ...]:
    """Decide about every stage, in order.

    Args:
        settings: of the run; `epochs = 0` leaves a stage out.
        only: stages asked for; none means all.
        skip: stages left out.
        earlier: stages that the run planned when it was last started; counts when neither `only` nor `skip` is given.

    Raises:
        UsageError: an unknown stage, or nothing left to do.
    """
    for name in (*only, *skip):
        if name not in STAGES:
            raise UsageError(f"there is no stage {name!r}", f"the stages are {', '.join(STAGES)}")
    plan = []
    for name in STAGES:
        epochs: int = getattr(settings.stages, name).epochs
        reason = None
        if name in skip:
            reason = "left out with --skip"
        elif only and name not in only:
            reason = "not asked for with --stage"
        elif earlier is not None and not only and not skip and name not in earlier:
            reason = "not part of this run so far; ask for it with --stage"
        elif epochs == 0:
            reason = f"stages.{name}.epochs = 0"
        plan.append(PlannedStage(name, 0 if reason else epochs, reason))
    if all(stage.skip for stage in plan):
        raise UsageError("every stage is left out, so there is nothing to do")
    return tuple(plan)


def check_needs(plan: Sequence[PlannedStage], run: RunDirectory | None) -> None:
    """Make sure before anything starts that each stage will find its inputs.

    Args:
        plan: of the run.
        run: None for one that has no folder yet.

    Raises:
        UsageError: a stage needs a result that neither an earlier stage of the plan nor the run has.
    """
    running = {stage.name for stage in plan if stage.skip is None}
    for name in STAGES:
        if name not in running:
            continue
        absent = [need for need in NEEDS[name] if MAKERS[need] not in running]
        missing = [need for need in absent if run is None or not has_result(run, need)]
        if missing:
            makers = sorted({MAKERS[need] for need in missing}, key=STAGES.index)
            raise UsageError(
                f"stage {name} needs {', '.join(missing)}, which this run does not have",
                f"add {' and '.join(f'--stage {maker}' for maker in makers)}, or go on with a run that has them:"
                f" ups train --resume RUN --stage {name}",
            )


def check_ahead(settings: Settings) -> None:
    """Find out now, from settings, file headers and the machine, what would else end a run after hours of training.

    Raises:
        DataError: data that is missing, unreadable or foreign.
        SettingsError: settings that do not go with the data or the machine.
    """
    device = pick_device(settings.runtime)
    if settings.latent.residency == "gpu" and device.type != "cuda":
        choose(0, available_memory(), None, "gpu")
    check_fit(settings, foresee_data(settings))


def check_fit(settings: Settings, seen: Foreseen) -> None:
    """Whether the settings go with the data's grid and frames.

    Raises:
        SettingsError: they do not.
    """
    data = settings.data
    TokenGrid.fit(seen.grid.shape, data.patch_size, seen.grid.periodic, settings.latent.tokens)
    if settings.stages.operator.epochs and max_horizon(settings) >= seen.frames:
        raise SettingsError(
            f"unrolling {max_horizon(settings)} steps takes more than the {seen.frames} frames of a trajectory",
            "lower training.rollout_horizon, stages.operator.curriculum or data.time_stride",
        )
    if settings.stages.evaluation.epochs:
        evaluation.require_frames(seen.frames, settings.stages.evaluation.initial_steps)


class Past:
    """What earlier processes left of a run.

    Args:
        run: owned by the caller.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._state = summarise(run)
        self._stages = {stage.name: stage for stage in self._state.stages}
        self.planned = self._state.planned
        """Stages of the latest plan; None when the run was never started."""

    def has_results(self, name: str) -> bool:
        """Whether all that a stage leaves is there."""
        if name == "evaluation":
            return (self._run.reports / EVALUATION_FILE).is_file()
        return all(
            has_result(self._run, result) for stage in TRAINING_STAGES if stage.name == name for result in stage.writes
        )

    def done(self, name: str) -> bool:
        """Whether the run's history says that a stage came to its end."""
        return name in self._stages and self._stages[name].state == "done"

    def seconds(self, name: str) -> float:
        """Time spent in a stage."""
        return self._stages[name].seconds if name in self._stages else 0.0

    def nothing_left(self, plan: Sequence[PlannedStage], asked: Collection[str]) -> bool:
        """Whether the run is finished and the plan adds nothing to it; an evaluation that is asked for does."""
        running = [stage.name for stage in plan if stage.skip is None]
        complete = all(self.done(name) and self.has_results(name) for name in running)
        return self._state.state == "finished" and complete and "evaluation" not in asked
