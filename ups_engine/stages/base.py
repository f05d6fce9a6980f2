"""The shape of a stage. Each is declared once, as `STAGE` of a module that is called like its settings."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ups_engine.config.schema import Settings
from ups_engine.stages.context import StageContext
from ups_engine.stages.memory import Probe
from ups_engine.stages.variant import Variant
from ups_engine.training.task import Task


class StageTask(Task):
    """A stage's work in the step loop, and what it leaves behind."""

    @abstractmethod
    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The networks to save, by the names in `Stage.results`.

        Args:
            network: `self.network` with its best weights.
            averaged: its moving average at the same step.
        """

    def verdict(self, metrics: Mapping[str, float]) -> str | None:
        """A sentence for the user about the stage's best validation, where there is something to say."""
        return None


class PairTask(StageTask):
    """Work on pairs of latents, whose frozen encoder and decoder lead from fields to latents and back.

    Args:
        context: of the run.
        horizon: frames after the first of a pair.
    """

    def __init__(self, context: StageContext, horizon: int) -> None:
        self._context, self._members = context, context.collection.members
        self._encoder, self._decoder = context.results.codec()
        self._pairs = context.pairs(horizon)
        self.samples = tuple(len(pairs) for pairs in self._pairs)

    def begin_epoch(self, numbers: Sequence[Tensor]) -> None:
        """See `Task.begin_epoch`."""
        for pairs, own in zip(self._pairs, numbers, strict=True):
            pairs.announce(own)

    def describe(self, member: int, numbers: Tensor) -> str:
        """See `Task.describe`."""
        return self._pairs[member].index.describe(numbers)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a run.

    Attributes:
        name: its key under `stages` of the settings.
        needs: results of earlier stages that it loads.
        writes: results that it makes.
        continues: results of earlier stages that it trains further and puts in their place.
        variant: the way to predict that its results add, if they add one.
    """

    name: str
    needs: tuple[str, ...]
    writes: tuple[str, ...] = ()
    continues: tuple[str, ...] = ()
    variant: Variant | None = None

    @property
    def results(self) -> tuple[str, ...]:
        """Everything that it leaves."""
        return (*self.continues, *self.writes)

    @property
    def loads(self) -> tuple[str, ...]:
        """Everything that must be there before it."""
        return (*self.needs, *self.continues)


@dataclass(frozen=True, kw_only=True)
class TrainingStage(Stage):
    """A stage that trains.

    Attributes:
        make: builds its task; networks and caches are loaded here.
        version: of its loss, its score, and what its networks compute. A stage under way does not go on with another.
        memory: bytes that a step takes beside the latents, by a probe; None for a stage that reads no latents.
    """

    make: Callable[[StageContext], StageTask]
    version: int
    memory: Callable[[Probe], int] | None = None


def stage_epochs(settings: Settings, name: str) -> int:
    """Epochs of a stage by its name; 0 leaves it out."""
    epochs: int = getattr(settings.stages, name).epochs
    return epochs
