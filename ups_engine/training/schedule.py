"""The learning rate over a stage."""

import math
from collections.abc import Mapping

import torch

from ups_engine.config.training import SchedulerSettings

IMPROVEMENT = 1e-4
"""Relative decrease of a score that counts as one, as in PyTorch's ReduceLROnPlateau."""


class LearningRate:
    """Sets the optimiser's learning rates before every step.

    A linear warm-up comes first; the schedule starts when it is over. Constant, cosine and step decay are pure
    functions of the step number. Only the plateau schedule remembers anything: the best score and how many
    epochs ago it was.

    Args:
        settings: which schedule, and its parameters.
        optimiser: whose groups' rates, as it was built, are the peak rates.
        epochs: length of the stage; may be broken when `max_steps` ends it earlier.
        steps_per_epoch: optimiser steps in an epoch.
    """

    def __init__(
        self, settings: SchedulerSettings, optimiser: torch.optim.Optimizer, epochs: float, steps_per_epoch: int
    ) -> None:
        self._settings = settings
        self._optimiser = optimiser
        # Kept in the groups, so that an optimiser whose state was loaded before still knows its peaks.
        self._peaks = [group.setdefault("initial_lr", float(group["lr"])) for group in optimiser.param_groups]
        self._steps_per_epoch = steps_per_epoch
        self._warmup = round(settings.warmup_epochs * steps_per_epoch)
        self._last = round((settings.t_max or epochs) * steps_per_epoch)
        self._step = 0
        self._best = math.inf
        self._waited = 0
        self._reduction = 1.0
        self.current = self._peaks[0]
        """Rate of the first group at the latest step."""

    def step(self, step_number: int) -> None:
        """Set the rates for an optimiser step, counted from 0 over the whole stage; call it before the step."""
        self._step = step_number
        rates = [self._rate(peak, step_number) for peak in self._peaks]
        for group, rate in zip(self._optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
        self.current = rates[0]

    def epoch_end(self, score: float | None) -> None:
        """Tell the schedule that an epoch is over; only the plateau schedule listens.

        Patience counts epochs, but only a validation can end it: between validations nobody knows of an improvement.
        During warm-up nothing is counted.

        Args:
            score: of the epoch's validation, lower is better, one that is not finite is no improvement; None where the
                epoch was not validated.
        """
        if self._settings.name != "reducelronplateau" or self._step < self._warmup:
            return
        self._waited += 1
        if score is None:
            return
        threshold = self._best - IMPROVEMENT * abs(self._best) if math.isfinite(self._best) else math.inf
        if score < threshold:
            self._best, self._waited = score, 0
        elif self._waited > self._settings.patience:
            self._reduction *= self._settings.factor
            self._waited = 0

    def state_dict(self) -> dict[str, float]:
        """What a resumed stage needs, as strict JSON can hold it: without `best` while there is none."""
        state = {"step": self._step, "waited": self._waited, "reduction": self._reduction}
        return {**state, "best": self._best} if math.isfinite(self._best) else state

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from what `state_dict` gave; the rates themselves are set at the next `step`."""
        self._step, self._waited = int(state["step"]), int(state["waited"])
        self._reduction, self._best = state["reduction"], state.get("best", math.inf)

    def _rate(self, peak: float, step: int) -> float:
        if step < self._warmup:
            return peak * (step + 1) / self._warmup
        done = step - self._warmup
        match self._settings.name:
            case "cosineannealinglr":
                share = min(1.0, done / max(1, self._last - self._warmup))
                low = min(self._settings.eta_min, peak)
                return low + (peak - low) * (1 + math.cos(math.pi * share)) / 2
            case "steplr":
                return peak * self._settings.gamma ** (done // (self._steps_per_epoch * self._settings.step_size))
            case "reducelronplateau":
                return peak * self._reduction
            case "constant":
                return peak
