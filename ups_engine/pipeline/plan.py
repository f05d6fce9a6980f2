"""Which stages a run goes through, whether each will find what it needs, and what of it is still to do."""

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


class Agenda:
    """The stages that wait, in the order in which they will run, and the one that is running.

    Args:
        plan: of the run.
        run: whose results stages may find.
        past: what earlier processes did.
        settings: of the run.
    """

    def __init__(self, plan: Sequence[PlannedStage], run: RunDirectory, past: Past, settings: Settings) -> None:
        self._run, self._settings = run, settings
        self._waiting = running_stages(plan)
        self._done = {name for name in self._waiting if past.done(name) and past.has_results(name)}
        self.running: StageName | None = None

    @property
    def waiting(self) -> bool:
        """Whether anything is left."""
        return bool(self._waiting)

    def next(self) -> StageName | None:
        """Take the next stage, which is then the running one; None when nothing is left."""
        self.running = self._waiting.pop(0) if self._waiting else None
        return self.running

    def end(self, *, done: bool) -> None:
        """The running stage has come to its end, with its results or without."""
        if done and self.running is not None:
            self._done.add(self.running)
        self.running = None

    def refuse_skip(self, name: str) -> str | None:
        """Why a stage cannot be left out, or None."""
        if name not in STAGES:
            return _unknown(name)
        if name != self.running and name not in self._waiting:
            return f"stage {name} is {'done already' if name in self._done else 'not going to run anyway'}"
        if name in self._done and name != self.running and name != EVALUATION:
            return f"stage {name} is done already"
        order = ([self.running] if self.running else []) + self._waiting
        return self._lacking([stage for stage in order if stage != name])

    def skip(self, name: str) -> None:
        """Leave out a waiting stage that `refuse_skip` has nothing against."""
        self._waiting.remove(name)

    def refuse_start(self, name: str) -> str | None:
        """Why a stage cannot run next, or None."""
        if name not in STAGES:
            return _unknown(name)
        if name == self.running:
            return f"stage {name} is running already"
        if name in self._done and name != EVALUATION:
            return f"stage {name} is done; start a new run to train it again"
        if stage_epochs(self._settings, name) == 0:
            return f"stages.{name}.epochs = 0"
        return self._lacking(([self.running] if self.running else []) + self._first(name))

    def start(self, name: str) -> None:
        """Put a stage that `refuse_start` has nothing against in front of those that wait."""
        self._waiting = self._first(name)

    def _first(self, name: str) -> list[StageName]:
        return [name, *(stage for stage in self._waiting if stage != name)]

    def _lacking(self, order: Sequence[str]) -> str | None:
        """Why stages in this order would not all find what they need, or None."""
        found = lacking(order, self._run)
        return None if found is None else f"stage {found[0]} needs {found[1][0]}, which the run would not have"


def _unknown(name: str) -> str:
    return f"there is no stage {name!r}; the stages are {', '.join(STAGES)}"
