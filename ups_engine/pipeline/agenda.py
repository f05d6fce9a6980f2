"""What a run still has to do: its plan, as commands change it while the run goes on."""

from collections.abc import Sequence

from ups_engine.config.schema import STAGES, Settings, StageName
from ups_engine.pipeline.plan import EVALUATION, Past, PlannedStage, lacking, running_stages
from ups_engine.runs.directory import RunDirectory
from ups_engine.stages.base import stage_epochs


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
