"""Which stages a run goes through, and whether each will find what it needs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ups_engine.config.schema import STAGES, Settings, StageName
from ups_engine.errors import UsageError
from ups_engine.runs.checkpoints import has_result, read_sidecar
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.state import summarise
from ups_engine.stages.base import stage_epochs
from ups_engine.stages.registry import STAGE_OF, makers

EVALUATION = "evaluation"
EVALUATION_FILE = "evaluation.json"


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
        epochs, reason = stage_epochs(settings, name), None
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


def running_stages(plan: Sequence[PlannedStage]) -> list[StageName]:
    """The stages of a plan that are not left out, in order."""
    return [stage.name for stage in plan if stage.skip is None]


def lacking(order: Sequence[str], run: RunDirectory | None) -> tuple[str, list[str]] | None:
    """The first of some stages, in the order in which they will run, that would not find what it loads.

    Args:
        order: names of stages.
        run: whose results count too; None for one that has no folder yet.

    Returns:
        Its name and the results that neither a stage before it nor the run has; None where there is no such stage.
    """
    made: set[str] = set()
    for name in order:
        stage = STAGE_OF[name]
        missing = [need for need in stage.loads if need not in made and (run is None or not has_result(run, need))]
        if missing:
            return name, missing
        made |= {*stage.results}
    return None


def check_needs(plan: Sequence[PlannedStage], run: RunDirectory | None) -> None:
    """Make sure before anything starts that each stage will find its inputs.

    Args:
        plan: of the run.
        run: None for one that has no folder yet.

    Raises:
        UsageError: a stage needs a result that neither an earlier stage of the plan nor the run has.
    """
    found = lacking(running_stages(plan), run)
    if found is not None:
        name, missing = found
        first = sorted({makers(need)[0] for need in missing}, key=STAGES.index)
        raise UsageError(
            f"stage {name} needs {', '.join(missing)}, which this run does not have",
            f"add {' and '.join(f'--stage {maker}' for maker in first)}, or go on with a run that has them:"
            f" ups train --resume RUN --stage {name}",
        )


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
        """Stages of the latest plan, with what commands made of it; None when the run was never started."""

    def has_results(self, name: str) -> bool:
        """Whether all that a stage leaves is there."""
        if name == EVALUATION:
            return (self._run.reports / EVALUATION_FILE).is_file()
        stage = STAGE_OF[name]
        there = all(has_result(self._run, result) for result in stage.results)
        return there and all(read_sidecar(self._run, result).get("stage") == name for result in stage.continues)

    def done(self, name: str) -> bool:
        """Whether the run's history says that a stage came to its end."""
        return name in self._stages and self._stages[name].state == "done"

    def seconds(self, name: str) -> float:
        """Time spent in a stage."""
        return self._stages[name].seconds if name in self._stages else 0.0

    def nothing_left(self, plan: Sequence[PlannedStage], asked: Collection[str]) -> bool:
        """Whether the run is finished and the plan adds nothing to it; an evaluation that is asked for does."""
        complete = all(self.done(name) and self.has_results(name) for name in running_stages(plan))
        return self._state.state == "finished" and complete and EVALUATION not in asked
