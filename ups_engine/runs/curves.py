"""Curves of any length in little memory: what a stage's steps and validations draw."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ups_engine.runs.event_file import Event
from ups_engine.runs.strict_json import finite

BUCKETS = 512
"""Ranges that the steps of a curve are divided into; each keeps two points."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity over the optimiser steps of a stage; at most about a thousand points, the extremes among them."""

    steps: NDArray[np.float64]  # (n,)
    """Ascending."""
    values: NDArray[np.float64]  # (n,)
    """Finite."""


EMPTY = Curve(np.empty(0), np.empty(0))


@dataclass(frozen=True, eq=False)
class StageCurves:
    """The curves of a stage; one of which nothing is known is empty."""

    loss: Curve = EMPTY
    validation: Curve = EMPTY
    """The score; lower is better."""
    lr: Curve = EMPTY
    grad_norm: Curve = EMPTY
    throughput: Curve = EMPTY
    """Samples per second."""
    components: Mapping[str, Curve] = field(default_factory=dict)
    """Parts of the loss by name."""


class GrowingCurve:
    """A curve that points are added to at its end.

    The steps are divided into ranges of equal width, a power of two; a range keeps its lowest and its highest point.
    When the ranges run out, neighbours are merged and the width doubles. So what is kept depends on the points alone,
    not on when they came.
    """

    def __init__(self) -> None:
        self._width = 1
        self._low = np.full((2, BUCKETS), np.nan)  # step and value of the lowest point of each range
        self._high = np.full((2, BUCKETS), np.nan)
        self._last: tuple[float, float] | None = None
        self._curve: Curve | None = EMPTY

    def add(self, step: int, value: object) -> None:
        """Add a point; what is no finite number is left out, and a step that was there before replaces what follows."""
        number = finite(value)
        if number is None or step < 0:
            return
        if self._last is not None and step <= self._last[0]:
            self.cut(step - 1)
        while step >= self._width * BUCKETS:
            self._width *= 2
            self._low, self._high = _halved(self._low, higher=False), _halved(self._high, higher=True)
        at = step // self._width
        if not self._low[1, at] <= number:
            self._low[:, at] = step, number
        if not self._high[1, at] >= number:
            self._high[:, at] = step, number
        self._last = (step, number)
        self._curve = None

    def cut(self, step: float) -> None:
        """Forget what lies beyond a step."""
        if self._last is None or self._last[0] <= step:
            return
        low, high = self._low, self._high
        low_gone, high_gone = ~(low[0] <= step), ~(high[0] <= step)
        low[:, low_gone] = high[:, low_gone]
        high[:, high_gone] = low[:, high_gone]
        low[:, low_gone & high_gone] = high[:, low_gone & high_gone] = np.nan
        left = np.concatenate((low, high), axis=1)
        left = left[:, ~np.isnan(left[0])]
        end = left[:, np.argmax(left[0])] if left.size else None
        self._last = None if end is None else (float(end[0]), float(end[1]))
        self._curve = None

    def curve(self) -> Curve:
        """Give the points there are; the same object until something changes."""
        if self._curve is None:
            used = ~np.isnan(self._low[0])
            pairs = np.stack((self._low[:, used], self._high[:, used]), axis=2)  # (2, ranges, 2)
            swapped = pairs[0, :, 0] > pairs[0, :, 1]
            pairs[:, swapped] = pairs[:, swapped, ::-1]
            steps, values = pairs.reshape(2, -1)
            keep = np.diff(steps, prepend=-1.0) > 0
            steps, values = steps[keep], values[keep]
            if self._last is not None and self._last[0] > steps[-1]:
                steps, values = np.append(steps, self._last[0]), np.append(values, self._last[1])
            self._curve = Curve(steps, values)
        return self._curve


class StageRecorder:
    """The growing curves of a stage."""

    def __init__(self) -> None:
        self._curves: defaultdict[str, GrowingCurve] = defaultdict(GrowingCurve)
        self._components: defaultdict[str, GrowingCurve] = defaultdict(GrowingCurve)

    def step(self, event: Event) -> None:
        """Take in a step, or an epoch with the same data."""
        if event.step is None:
            return
        for name in ("loss", "lr", "grad_norm", "throughput"):
            if name in event.data:
                self._curves[name].add(event.step, event.data[name])
        components = event.data.get("components")
        if isinstance(components, dict):
            for name, value in components.items():
                self._components[name].add(event.step, value)

    def validation(self, event: Event) -> None:
        """Take in a validation."""
        if event.step is not None:
            self._curves["validation"].add(event.step, event.data.get("score"))

    def cut(self, step: float) -> None:
        """Forget what lies beyond a step."""
        for curve in (*self._curves.values(), *self._components.values()):
            curve.cut(step)

    def curves(self) -> StageCurves:
        """Give the curves as they are now."""
        components = {name: curve.curve() for name, curve in self._components.items()}
        return StageCurves(**{name: curve.curve() for name, curve in self._curves.items()}, components=components)


def _halved(points: NDArray[np.float64], *, higher: bool) -> NDArray[np.float64]:
    """Merge neighbouring ranges: of two points the lower or higher, the first when equal."""
    first, second = points[:, 0::2], points[:, 1::2]
    better = second[1] > first[1] if higher else second[1] < first[1]
    merged = np.where(better | np.isnan(first[1]), second, first)
    return np.concatenate((merged, np.full_like(merged, np.nan)), axis=1)
