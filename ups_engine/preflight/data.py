"""What can be said of a run's data before it is trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ups_engine.data.survey import MemberSurvey
from ups_engine.errors import DataError
from ups_engine.telemetry.units import human_bytes


def data_sentence(seen: MemberSurvey, root: str) -> str:
    """Whether data is there and its first and last values can be read, or how much will be made.

    Args:
        seen: the data.
        root: where files of it were looked for.

    Raises:
        DataError: values cannot be read, or are none.
    """
    info, splits = seen.info, seen.splits
    if seen.to_make is not None:
        return (
            f"no files of {seen.name} are under {root}, so UPS solves it first: {info.trajectories} trajectories of"
            f" {info.frames} frames on {size(info.resolution)} points, {human_bytes(info.bytes)}, into {seen.to_make}"
        )
    _probe(seen)
    more = f" and {len(info.files) - 1} more" if len(info.files) > 1 else ""
    fields, points = "/".join(spec.name for spec in seen.fields), size(seen.discretisation.shape)
    return (
        f"{_short(info.files[0])}{more} ({info.format}, {human_bytes(info.bytes)}) gives {fields} on"
        f" {points} points, {seen.frames} frames, dt {seen.dt:.4g}; {len(splits.train)} trajectories"
        f" train, {len(splits.val)} validate, {len(splits.test)} test"
    )


def size(shape: Sequence[int]) -> str:
    """Points per axis, such as `128x128`."""
    return "x".join(map(str, shape))


def _short(path: Path) -> str:
    """A path as one would type it in the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _probe(seen: MemberSurvey) -> None:
    """Read a little from both ends: headers may promise what a torn download does not hold."""
    if seen.source is None:
        return
    rows, names = seen.splits.all(), [spec.name for spec in seen.fields]
    for row in {int(rows.min()), int(rows.max())}:
        values = seen.source.read([row], [0, seen.info.frames - 1], names)
        if not np.isfinite(values).all():
            file, number = seen.source.locate(row)
            raise DataError(
                f"{file.name}: trajectory {number} holds values that are not finite",
                f"leave it out with --set 'data.exclude=[{row}]'",
            )
