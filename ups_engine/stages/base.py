"""The shape of a training stage."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from ups_engine.config.schema import StageName
from ups_engine.config.stages import StageSettings
from ups_engine.stages.context import StageContext
from ups_engine.training.task import Task


class StageTask(Task):
    """A stage's work in the step loop, and what it leaves behind."""

    @abstractmethod
    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The networks to save, by the names in `Stage.writes`.

        Args:
            network: `self.network` with its best weights.
            averaged: its moving average at the same step.
        """

    def verdict(self, metrics: Mapping[str, float]) -> str | None:
        """A sentence for the user about the stage's best validation, where there is something to say."""
        return None


@dataclass(frozen=True)
class Stage:
    """A training stage.

    Attributes:
        name: its key under `stages`.
        needs: results of earlier stages it loads.
        writes: results it saves.
        make: builds its task; networks and caches are loaded here.
        settings: the stage's settings as the step loop gets them.
    """

    name: StageName
    needs: tuple[str, ...]
    writes: tuple[str, ...]
    make: Callable[[StageContext], StageTask]
    settings: Callable[[StageContext], StageSettings]
