"""Strided, checked reads of a source, with the rows kept in memory where they fit."""

import math

import numpy as np

from ups_engine.config.data import DataSettings, exclusion
from ups_engine.data.sources.base import Source
from ups_engine.data.survey import MemberSurvey
from ups_engine.discretisation.arrays import Int64, Values, values_format
from ups_engine.errors import DataError


class StridedReader:
    """The part of a source that is used: its fields, every n-th point, every n-th frame.

    Args:
        source: what is read.
        survey: which fields, frames and trajectories of it.
        data: the strides, and what is left out already, for the advice in messages.
        memory: bytes that the trajectories may take in RAM. Where all of them would take more, none are kept and every
            read goes to the file; else one is read whole when it is first touched, and is gathered from RAM after that.
    """

    def __init__(self, source: Source, survey: MemberSurvey, data: DataSettings, memory: int) -> None:
        self.source = source
        self._fields = survey.field_names
        self.spatial_stride, self.time_stride = data.spatial_stride, data.time_stride
        self._frames, self._exclude = survey.frames, data.exclude
        number_format = values_format(spec.dtype for spec in survey.fields)
        self.value_bytes = number_format.itemsize
        """Of a value as it is read."""
        rows, frame = survey.splits.all(), (*survey.discretisation.shape, survey.channels)
        self.stored_frame_bytes = (
            self.value_bytes * survey.channels * math.prod(source.info.resolution) * data.time_stride
        )
        """Read from the file for each frame that is used, those that the stride skips included."""
        self._kept: Values | None = None
        if self.value_bytes * len(rows) * survey.frames * math.prod(frame) <= memory:
            # untouched pages of this array take no memory
            self._kept = np.empty((len(rows), survey.frames, *frame), number_format)
        self._place = np.full(source.info.trajectories, -1)
        self._place[rows] = np.arange(len(rows))
        self._present = np.zeros(len(rows), dtype=bool)

    def read(self, trajectories: Int64, frames: Int64 | None = None) -> Values:
        """Physical values (n, T', *space, C) of frames (T',), or of (n, T') each trajectory's own; None for all.

        Raises:
            DataError: the file cannot be read, or holds non-finite values there.
        """
        rows = np.asarray(trajectories, dtype=np.int64)
        when = np.arange(self._frames) if frames is None else np.asarray(frames, dtype=np.int64)
        if when.size and not (when.min() >= 0 and when.max() < self._frames):
            raise IndexError(f"frames {when.min()} to {when.max()} of {self._frames}")
        places = self._place[rows]
        if self._kept is None or (places < 0).any():
            return self._from_file(rows, when)
        for place in np.unique(places[~self._present[places]]):
            row = rows[places == place][:1]
            self._kept[place] = self._from_file(row, np.arange(self._frames))[0]
            self._present[place] = True
        picked: Values = (
            self._kept[places]
            if frames is None
            else self._kept[places[:, None], when if when.ndim == 2 else when[None]]
        )
        return picked

    def _from_file(self, rows: Int64, frames: Int64) -> Values:
        stored = frames * self.time_stride
        values = self.source.read(rows, stored, self._fields, spatial_stride=self.spatial_stride)
        finite = np.isfinite(values).reshape(*values.shape[:2], -1).all(axis=-1)  # (n, T')
        if not finite.all():
            which, when = (int(place[0]) for place in np.nonzero(~finite))
            raise self._not_finite(int(rows[which]), int(np.broadcast_to(stored, finite.shape)[which, when]))
        return values

    def _not_finite(self, row: int, frame: int) -> DataError:
        path, number = self.source.locate(row)
        counted = "" if number == row else f" (trajectory {row} of all files)"
        return DataError(
            f"{path} holds non-finite values in trajectory {number}{counted}, frame {frame}",
            f"leave it out with {exclusion([row], self._exclude)}",
        )
