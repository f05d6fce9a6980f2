"""Which stages a run goes through, whether each will find what it needs, and what of it is still to do."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ups_engine.config.schema import STAGES, Settings, StageName
from ups_engine.errors import CheckpointError, UsageError
from ups_engine.evaluation.soundness import EVALUATION_FILE, report_flaw, report_flaws
from ups_engine.runs.checkpoints import check_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.sidecars import has_result, read_sidecar, refuse_stale, result_paths
from ups_engine.runs.state import summarise
from ups_engine.stages.base import stage_epochs
from ups_engine.stages.registry import STAGE_OF, makers

EVALUATION = "evaluation"


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
        self._sound: dict[str, list[tuple[int, int, int] | None]] = {}
        """Stamps of the files of results that were found sound."""
        self.planned = self._state.planned
        """Stages of the latest plan, with what commands made of it; None when the run was never started."""

    def has_results(self, name: str) -> bool:
        """Whether all that a stage leaves is there, sound, and made with what the run has now."""
        return self.flaw(name) is None

    def flaw(self, name: str) -> str | None:
        """Why what a stage left does not count, or not any more; None where it does."""
        if name == EVALUATION:
            return report_flaw(self._run, self._run.reports / EVALUATION_FILE)
        stage = STAGE_OF[name]
        try:
            for result in stage.results:
                self._check(result)
            others = [r for r in stage.continues if read_sidecar(self._run, r).get("stage") != name]
        except CheckpointError as problem:
            return problem.message
        return f"{others[0]} is as an earlier stage left it" if others else None

    def once_more(self, names: Sequence[str]) -> list[str]:
        """Which of some stages were done and have to be done again, and why, a sentence each."""
        flaws = [(name, flaw) for name in names if self.done(name) and (flaw := self.flaw(name)) is not None]
        return [f"{name} is done again, for {flaw}" for name, flaw in flaws]

    def unmended(self, plan: Sequence[PlannedStage]) -> list[str]:
        """What is wrong with what the run left and stays so under a plan, a sentence each."""
        rest = [name for name in STAGES if name not in running_stages(plan) and self.done(name)]
        flaws = [(name, flaw) for name in rest if (flaw := self.flaw(name)) is not None]
        reports = [sentence for sentence in report_flaws(self._run) if EVALUATION_FILE not in sentence]
        return [
            *(f"{flaw}; do stage {name} again with --stage {name}" for name, flaw in flaws),
            *(f"{sentence}; `ups evaluate {self._run.name}` makes reports" for sentence in reports),
        ]

    def _check(self, result: str) -> None:
        """See `check_result`; tensors that were found sound are not read again while their files stay as they are."""
        stamp = [_stamp(path) for path in result_paths(self._run, result)]
        if self._sound.get(result) == stamp:
            refuse_stale(self._run, result, read_sidecar(self._run, result))
        else:
            check_result(self._run, result)
            self._sound[result] = stamp

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
        self._run, self._past, self._settings = run, past, settings
        self._waiting = running_stages(plan)
        self._ended: set[str] = set()
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
            self._ended.add(self.running)
        self.running = None

    def refuse_skip(self, name: str) -> str | None:
        """Why a stage cannot be left out, or None."""
        if name not in STAGES:
            return _unknown(name)
        if name != self.running and name not in self._waiting:
            return f"stage {name} is {'done already' if self._done(name) else 'not going to run anyway'}"
        if self._done(name) and name != self.running and name != EVALUATION:
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
        if self._done(name) and name != EVALUATION:
            return f"stage {name} is done; start a new run to train it again"
        if stage_epochs(self._settings, name) == 0:
            return f"stages.{name}.epochs = 0"
        return self._lacking(([self.running] if self.running else []) + self._first(name))

    def start(self, name: str) -> None:
        """Put a stage that `refuse_start` has nothing against in front of those that wait."""
        self._waiting = self._first(name)

    def _done(self, name: str) -> bool:
        """Whether a stage is done and what it left still counts, which a stage before it may have changed."""
        return (name in self._ended or self._past.done(name)) and self._past.has_results(name)

    def _first(self, name: str) -> list[StageName]:
        return [name, *(stage for stage in self._waiting if stage != name)]

    def _lacking(self, order: Sequence[str]) -> str | None:
        """Why stages in this order would not all find what they need, or None."""
        found = lacking(order, self._run)
        return None if found is None else f"stage {found[0]} needs {found[1][0]}, which the run would not have"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _unknown(name: str) -> str:
    return f"there is no stage {name!r}; the stages are {', '.join(STAGES)}"
