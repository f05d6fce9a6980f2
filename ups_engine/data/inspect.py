"""What a file is, what it holds, and what UPS would do with it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ups_engine.config.models import LEAST_CELLS
from ups_engine.config.schema import Settings
from ups_engine.data.normalisation import evenly
from ups_engine.data.prepare import memory_for_fields
from ups_engine.data.seams import boundary_doubts
from ups_engine.data.sources import open_source
from ups_engine.data.sources.base import Source
from ups_engine.data.sources.info import FieldSpec, SourceInfo
from ups_engine.data.splits import choose_splits, parameter_groups
from ups_engine.data.survey import time_step, used_frames
from ups_engine.data.zeros import ZeroFrames
from ups_engine.discretisation import Discretisation, discretisation_of
from ups_engine.discretisation.arrays import Int64, values_format
from ups_engine.errors import UpsError

_SAMPLED_TRAJECTORIES = 16
_SAMPLED_FRAMES = 5
_SAMPLED_BYTES = 64 * 2**20
_LISTED_VALUES = 16


@dataclass(frozen=True, eq=False)
class FieldSummary:
    """A field with the range of its values over a small, evenly spaced sample."""

    spec: FieldSpec
    shape: tuple[int, ...]
    """As stored over all files: trajectories, frames, space, and channels where there are several."""
    low: float
    high: float
    finite: bool


@dataclass(frozen=True, eq=False)
class Description:
    """What `ups data inspect` says."""

    info: SourceInfo
    fields: tuple[FieldSummary, ...]
    parameters: dict[str, list[float]]
    """Distinct values by name, at most 16 of them."""
    plan: tuple[str, ...]
    """Sentences: what UPS would do with the data under the settings."""

    def to_json(self) -> dict[str, Any]:
        """The keys of the design page, then what else is known."""
        info = self.info
        return {
            "format": info.format,
            "task": info.task,
            "fields": [
                {
                    "name": field.spec.name,
                    "shape": list(field.shape),
                    "dtype": field.spec.dtype,
                    "unit": field.spec.unit,
                    "sampled": {"min": field.low, "max": field.high, "finite": field.finite},
                }
                for field in self.fields
            ],
            "trajectories": info.trajectories,
            "frames": info.frames,
            "resolution": list(info.resolution),
            "dt": info.dt,
            "parameters": self.parameters,
            "bytes": info.bytes,
            "coordinates": [
                {
                    "first": float(axis[0]),
                    "last": float(axis[-1]),
                    "points": len(axis),
                    "periodic": ends.periodic,
                    "boundary": ends.to_json(),
                    "unit": unit,
                }
                for axis, ends, unit in zip(info.coordinates, info.boundaries, info.units_of_axes, strict=True)
            ],
            "time": {"first": float(info.time[0]), "last": float(info.time[-1]), "unit": info.time_unit}
            if info.dt is not None
            else None,
            "split": info.split,
            "files": [str(path) for path in info.files],
            "plan": list(self.plan),
        }


def describe(path: Path | str, settings: Settings) -> Description:
    """Open data and describe it, reading a small sample of its values.

    Args:
        path: a file, a folder or a pattern.
        settings: under which the plan is made.

    Raises:
        DataError: missing, unreadable, foreign, or without values of trajectories that are not left out.
    """
    source = open_source(path, settings.data.boundary)
    info = source.info
    used = np.setdiff1d(np.arange(info.trajectories), settings.data.exclude)
    source.require_present(used, (), settings.data.exclude)
    columns = source.parameters(np.arange(info.trajectories)).T
    parameters = {
        name: np.unique(column)[:_LISTED_VALUES].tolist() for name, column in zip(info.parameters, columns, strict=True)
    }
    return Description(
        info=info,
        fields=tuple(_summaries(source, used)),
        parameters=parameters,
        plan=(
            *info.notes,
            *_zero_frames(source, used),
            *boundary_doubts(source, used),
            *_plan(source, settings, parameters),
        ),
    )


def _summaries(source: Source, used: Int64) -> Iterator[FieldSummary]:
    info = source.info
    frame_bytes = 4 * math.prod(info.resolution) * info.channels
    rows = used[evenly(len(used), max(1, min(_SAMPLED_TRAJECTORIES, _SAMPLED_BYTES // frame_bytes)))]
    frames = evenly(info.frames, _SAMPLED_FRAMES)
    for spec in info.fields:
        sample = np.concatenate([source.read([row], [frame], [spec.name]).ravel() for row in rows for frame in frames])
        finite = np.isfinite(sample)
        kept = sample[finite]
        yield FieldSummary(
            spec=spec,
            shape=(info.trajectories, info.frames, *info.resolution) + ((spec.channels,) if spec.channels > 1 else ()),
            low=float(kept.min()) if kept.size else math.nan,
            high=float(kept.max()) if kept.size else math.nan,
            finite=bool(finite.all()),
        )


def _zero_frames(source: Source, used: Int64) -> Iterator[str]:
    """A warning of frames that are zero throughout: of small data all are looked at, of larger data a sample."""
    info, zeros = source.info, ZeroFrames()
    small = info.bytes <= _SAMPLED_BYTES
    rows = used if small else used[evenly(len(used), _SAMPLED_TRAJECTORIES)]
    frames = evenly(info.frames, info.frames if small else _SAMPLED_FRAMES)
    for row in rows.tolist():
        zeros.note(np.array([row]), frames, source.read([row], frames))
    if notice := zeros.notice(source):
        yield notice


def _plan(source: Source, settings: Settings, parameters: Mapping[str, list[float]]) -> Iterator[str]:
    """What UPS would do, up to the first thing that it would refuse."""
    info, data = source.info, settings.data
    try:
        grid = discretisation_of(info.layout(), data.spatial_stride)
        frames, dt, fields = used_frames(info, data), time_step(info, data), source.info.field_specs(data.fields)
        yield (
            f"Use {'/'.join(spec.name for spec in fields)} on {'x'.join(map(str, grid.shape))} points"
            f" (stride {data.spatial_stride}) and {frames} frames, dt = {dt:g} (stride {data.time_stride})."
        )
        yield _tokens(grid, data.patch_size)
        splits = choose_splits(parameter_groups(source), data, settings.seed)
        declared = sorted({part.split for part in source.parts() if part.split})
        drawn = f"declared: {', '.join(declared)}" if len(declared) > 1 else "the first test, validation is drawn"
        yield (
            f"Train on {len(splits.train)} trajectories, validate on {len(splits.val)}, test on {len(splits.test)}"
            f" ({drawn}); normalise by the training ones."
        )
        varied = [name for name, values in parameters.items() if len(values) > 1]
        yield f"Condition on {', '.join(varied)} and dt." if varied else "Condition on dt; no PDE parameter varies."
        width = values_format(spec.dtype for spec in fields).itemsize
        needed = width * len(splits.all()) * frames * grid.points * sum(spec.channels for spec in fields)
        where = "kept in RAM once read" if needed <= memory_for_fields(settings) else "read from disk as needed"
        yield f"Fields take {needed / 2**20:.1f} MiB: {where}."
    except UpsError as problem:
        yield f"Not as the settings stand: {problem.message}" + (f"; {problem.hint}" if problem.hint else "")


def _tokens(grid: Discretisation, patch: int) -> str:
    if any(points % patch or points // patch < LEAST_CELLS for points in grid.shape):
        return (
            f"Patches of {patch} points do not tile this grid into {LEAST_CELLS} tokens or more along each axis: choose"
            " data.patch_size or data.spatial_stride anew."
        )
    tokens = math.prod(points // patch for points in grid.shape)
    return f"Encode it into {tokens} tokens of {patch} points along each axis."
