"""`reports/fields.npz`: a few trajectories, true and as the selected variant predicts them, to be looked at.

The file lies beside its report, `fields-<rest>.npz` beside `evaluation-<rest>.json`, and holds plain arrays:

- truth, prediction (n, T', *space', C) in physical units, float32, or float64 where the data are; given frames are
  predicted as they are
- frames (T',) numbers of the frames, time (T',) their times, coordinates_0 ... positions along each axis of space
- trajectories (n,) numbers in the source; fields (C,) names, units (C,) empty where they are not known
- given: number of given frames; variant: the one that predicts; split: of the trajectories

It is meant for the screen, so large data are thinned out: at most `MOST_FRAMES` frames, evenly spread, and of each
axis of space every s-th point, s being the smallest stride that keeps both arrays within `MOST_BYTES`.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ups_engine.discretisation.arrays import Float64, Int64, Values
from ups_engine.errors import RunError
from ups_engine.runs import atomic

MOST_TRAJECTORIES = 4
MOST_FRAMES = 128
MOST_BYTES = 6 * 2**20


@dataclass(frozen=True, eq=False)
class Examples:
    """Trajectories beside their prediction; the attributes are the arrays of the file.

    Attributes:
        truth: (n, T', *space', C), physical.
        prediction: like `truth`.
        frames: (T',) numbers of the frames.
        time: (T',) of the frames, in the data's unit.
        coordinates: positions along each axis of space, in the data's unit.
        trajectories: (n,) numbers in the source.
        fields: (C,) names.
        units: (C,) of the fields, empty where unknown.
        given: frames that the prediction started from.
        variant: that predicted.
        split: that the trajectories belong to.
    """

    truth: Values
    prediction: Values
    frames: Int64
    time: Float64
    coordinates: tuple[Float64, ...]
    trajectories: Int64
    fields: tuple[str, ...]
    units: tuple[str, ...]
    given: int
    variant: str
    split: str

    def write(self, path: Path) -> None:
        """Write the file atomically and durably.

        Raises:
            RunError: the disk is full or refuses the write.
        """
        arrays: dict[str, Any] = {
            "truth": self.truth,
            "prediction": self.prediction,
            "frames": self.frames,
            "time": self.time,
            "trajectories": self.trajectories,
            "fields": np.array(self.fields),
            "units": np.array(self.units),
            "given": np.array(self.given),
            "variant": np.array(self.variant),
            "split": np.array(self.split),
        }
        arrays |= {f"coordinates_{axis}": positions for axis, positions in enumerate(self.coordinates)}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote.

        Raises:
            RunError: the file is missing or is no such file.
        """
        again = "`ups evaluate RUN` writes it anew"
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls._of(dict(stored))
        except FileNotFoundError:
            raise RunError(f"there are no field examples at {path}", again) from None
        # What numpy and zipfile raise over damaged files.
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
            raise RunError(f"{path} holds no field examples: {error}", again) from error

    @classmethod
    def _of(cls, arrays: dict[str, Any]) -> Self:
        truth, prediction = arrays["truth"], arrays["prediction"]
        axes = truth.ndim - 3
        examples = cls(
            truth=truth,
            prediction=prediction,
            frames=arrays["frames"],
            time=arrays["time"],
            coordinates=tuple(arrays[f"coordinates_{axis}"] for axis in range(axes)),
            trajectories=arrays["trajectories"],
            fields=tuple(map(str, arrays["fields"])),
            units=tuple(map(str, arrays["units"])),
            given=int(arrays["given"]),
            variant=str(arrays["variant"]),
            split=str(arrays["split"]),
        )
        space = tuple(len(positions) for positions in examples.coordinates)
        expected = (len(examples.trajectories), len(examples.time), *space, len(examples.fields))
        if truth.shape != expected or prediction.shape != expected or axes < 1:
            raise ValueError(f"its arrays do not fit each other: {truth.shape}, {prediction.shape}, {expected}")
        return examples


def examples_path(report: Path, member: str | None = None) -> Path:
    """Where the examples of a report are: `fields.npz` beside `evaluation.json`, `fields-<member>.npz` of several."""
    stem = report.stem.replace("evaluation", "fields", 1)
    return report.with_name(f"{stem}.npz" if member is None else f"{stem}-{member}.npz")


def kept_frames(frames: int) -> Int64:
    """Numbers of the frames that are kept of so many: all, or `MOST_FRAMES` evenly spread, both ends included."""
    return np.linspace(0, frames - 1, min(frames, MOST_FRAMES)).round().astype(np.int64)


def kept_points(trajectories: int, frames: int, channels: int) -> int:
    """Points of a frame with which truth and prediction stay within `MOST_BYTES`."""
    return max(MOST_BYTES // (2 * 4 * trajectories * frames * channels), 1)
