"""What may end or hold up the step loop from outside, asked at every step boundary."""

from enum import Enum
from typing import Protocol


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
