"""Boundaries that the data contradict: a last point that repeats the first, a jump at the seam, another word in a name.

Judged by the difference of neighbours less the mean of the two differences beside it, which is small where a field is
smooth and alike everywhere where it is not: on an axis that wraps, the seam is a place like any other.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ups_engine.data.normalisation import evenly
from ups_engine.data.sources.base import Source
from ups_engine.data.sources.boundaries import name_against_attribute
from ups_engine.discretisation.arrays import Float64, Int64, Values
from ups_engine.discretisation.sample import AXES

_TRAJECTORIES, _FRAMES, _BYTES = 16, 8, 32 * 2**20
_FEWEST_POINTS = 8
_RATIO = 3.0  # of the seam to the roughest other place, which exchangeable places do not reach by chance
_SMALLEST = 0.05  # jump, in standard deviations of the field, that is worth a word
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Seam:
    """What was seen along one axis, per channel, in standard deviations of each trajectory's own field.

    Attributes:
        jump: (n, C) mean distance of the last point from the first.
        kink: (n, C) of the seam: mean size of its difference less the mean of the two beside it.
        slope: (n, C) mean size of the mean of the two differences beside the seam.
        step: (C,) mean distance of neighbours elsewhere.
        roughest: (C,) largest such kink of any other place, over all trajectories.
        rounding: (n, C) differences that are no more than rounding.
    """

    jump: Float64
    kink: Float64
    slope: Float64
    step: Float64
    roughest: Float64
    rounding: Float64

    @property
    def repeats(self) -> bool:
        """Whether the last point repeats the first, and not because the field is mirrored about the seam."""
        varying = self.step > 0
        alike = (self.jump <= self.rounding)[:, varying].all()
        # flat or mirrored ends say nothing
        return bool(varying.any() and alike and (self.slope.mean(axis=0) > 100 * self.rounding.max(axis=0)).any())

    @property
    def jumps(self) -> Int64:
        """Channels that jump at the seam in most trajectories, the clearest first."""
        usual = np.median(self.kink, axis=0)
        clear = np.flatnonzero((usual > _RATIO * self.roughest) & (usual > _SMALLEST))
        return clear[np.argsort(-usual[clear])]


def measure(values: Sequence[Values], axis: int) -> Seam:
    """Look at the seam of one axis.

    Args:
        values: of each trajectory, (T', *space, C), in the precision that they were read in.
        axis: of space.
    """
    seen = [_along(each, axis) for each in values]
    jump, kink, slope, rounding = (np.stack([one[i] for one in seen]) for i in range(4))
    step, rough = (np.mean([one[i] for one in seen], axis=0) for i in (4, 5))
    return Seam(jump, kink, slope, step, rough.max(axis=0), rounding)


def _along(read: Values, axis: int) -> tuple[Float64, ...]:
    """Of one trajectory: jump, kink, slope and rounding (C,), step (C,), kinks of other places (X - 3, C)."""
    values, channels = read.astype(np.float64), read.shape[-1]
    flat = values.reshape(-1, channels)
    deviation = flat.std(axis=0)
    rounding = _ROUNDING + 4 * float(np.finfo(read.dtype).eps) * np.abs(flat).max(axis=0) / np.maximum(
        deviation, 1e-300
    )
    scaled = (values - flat.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    lines = np.moveaxis(scaled, 1 + axis, 0).reshape(values.shape[1 + axis], -1, channels)
    steps = np.diff(lines, axis=0)  # (X - 1, lines, C)
    seam, beside = lines[0] - lines[-1], (steps[0] + steps[-1]) / 2
    inner = np.abs(steps[1:-1] - (steps[:-2] + steps[2:]) / 2)
    return (
        np.abs(seam).mean(axis=0),
        np.abs(seam - beside).mean(axis=0),
        np.abs(beside).mean(axis=0),
        rounding,
        np.abs(steps).mean(axis=(0, 1)),
        inner.mean(axis=1),
    )


def boundary_doubts(source: Source, rows: Int64) -> Iterator[str]:
    """Sentences on boundaries that the fields of a bounded sample of these trajectories, or files' names, contradict.

    Raises:
        DataError: the file cannot be read there.
    """
    said = (name_against_attribute(part.file, source.info.boundaries) for part in source.parts())
    yield from dict.fromkeys(sentence for sentence in said if sentence)
    for axis, seam in _seams(source, rows):
        ends, name = source.info.boundaries[axis], AXES[axis]
        called = f"along {name}, called periodic ({ends.origin}),"
        otherwise = f"--set data.boundary.{name}=open (or dirichlet, neumann, wall)"
        if seam.repeats:
            yield (
                f"{called} the last point repeats the first: write the file without it, or, if the ends are no"
                f" neighbours, say so with {otherwise}"
            )
        elif (clear := seam.jumps).size:
            worst = int(clear[0])
            field = [spec.name for spec in source.info.fields for _ in range(spec.channels)][worst]
            apart, step = float(np.median(seam.jump[:, worst])), float(seam.step[worst])
            yield (
                f"{called} {field} jumps at the seam: its first and last point are {apart:.2g} standard deviations"
                f" apart, neighbours elsewhere {step:.2g}; if the ends are no neighbours, say so with {otherwise}"
            )


def _seams(source: Source, rows: Int64) -> Iterator[tuple[int, Seam]]:
    """Every axis that is called periodic and long enough to judge, and what was seen there."""
    info = source.info
    wrapping = [
        axis for axis, ends in enumerate(info.boundaries) if ends.periodic and info.resolution[axis] >= _FEWEST_POINTS
    ]
    if not wrapping:
        return
    pieces = max(4, _BYTES // (8 * info.channels * math.prod(info.resolution)))
    chosen = rows[evenly(len(rows), min(_TRAJECTORIES, pieces))]
    frames = evenly(info.frames, max(1, min(_FRAMES, pieces // len(chosen))))
    read = [source.read([row], frames)[0] for row in chosen.tolist()]
    values = [each for each in read if np.isfinite(each).all()]  # the others are refused elsewhere
    for axis in wrapping if values else ():
        yield axis, measure(values, axis)
