"""What may end or hold up the step loop from outside, asked at every step boundary; and how it ended."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ups_engine.training.state import LoopState


class Action(Enum):
    """What the loop does next."""

    GO_ON = "go_on"
    SAVE = "save"
    """Save a resumable state, then ask again: the answer may take long."""
    FINISH_STAGE = "finish_stage"
    """End the stage here and keep its best weights."""
    SKIP_STAGE = "skip_stage"
    """End the stage here and keep nothing of it."""
    LEAVE = "leave"
    """Save a resumable state and return."""


class Control(Protocol):
    """Asked for the next action at a step boundary; may block for as long as the run is paused.

    Attributes:
        held: seconds that it has blocked so far, here or elsewhere.
    """

    held: float

    def next_action(self, epoch: int, step: int) -> Action:
        """Give the next action.

        Args:
            epoch: complete epochs of the stage.
            step: optimiser steps of the stage done so far.
        """
        ...


@dataclass(frozen=True)
class StageEnd:
    """How a stage's training ended.

    Attributes:
        action: GO_ON at its natural end, else what was asked for.
        at: where the stage was then.
        reason: why it ended before its last epoch, if it did.
    """

    action: Action
    at: LoopState
    reason: str | None = None
