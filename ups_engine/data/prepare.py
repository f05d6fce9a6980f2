"""The way of a run's data, from settings to members: each step hands its value to the next, from top to bottom.

Find or make the files; `survey` them on headers alone: layout, frames, time step, splits; check the first sample; prove
the splits disjoint; read; measure normalisation and scaling.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ups_engine.config.data import DataSettings, exclusion
from ups_engine.config.schema import Settings
from ups_engine.data.collection import Collection
from ups_engine.data.generate import generated_path, make
from ups_engine.data.identity import identity_of, is_stamped, settle
from ups_engine.data.member import Member
from ups_engine.data.normalisation import Fitted, Normalisation, fit
from ups_engine.data.reader import StridedReader
from ups_engine.data.scaling import ParameterScaling
from ups_engine.data.seams import boundary_doubts
from ups_engine.data.sources.base import Source
from ups_engine.data.splits import prove_disjoint
from ups_engine.data.survey import MemberSurvey, find_files, recorded_members, survey_member
from ups_engine.data.zeros import ZeroFrames
from ups_engine.discretisation.arrays import Int64, Values
from ups_engine.discretisation.sample import validate_sample
from ups_engine.errors import DataError
from ups_engine.reporting import Advance, Tell
from ups_engine.telemetry.memory import available_memory

_STAMPED = (
    "the run knows its data by samples of an earlier UPS, which fit; from now on it is known by a hash of all its bytes"
)
_SMALL_BYTES = 256 * 2**20


def prepare_data(
    settings: Settings,
    record: Mapping[str, Any] | None = None,
    notify: Tell = lambda sentence: None,
    advance: Advance = lambda what, done, total: None,
) -> Collection:
    """Find or make the data that the settings ask for, split it, and measure its normalisation.

    Args:
        settings: `data`, `latent.residency` (`disk` keeps no fields in RAM) and `seed` matter.
        record: what `Collection.record` gave an earlier run, now or in an earlier version: then the same files, splits,
            normalisation and scaling are used, and nothing is drawn or measured.
        notify: is told in a line what was chosen, made or waited for.
        advance: told again and again while data is made; may raise to stop that.

    Raises:
        DataError: missing, unreadable, foreign, non-finite, duplicated across splits, or other data than recorded.
        FormatError: the record is a newer UPS's.
        SettingsError: settings that do not go with the data.
    """
    known = (None,) if record is None else recorded_members(record)
    return Collection([_member(settings, member, notify, advance) for member in known])


def _member(settings: Settings, known: Mapping[str, Any] | None, notify: Tell, advance: Advance) -> Member:
    """A member of the collection: as its record says, or new."""
    data = settings.data
    survey = survey_member(settings, _found_or_made(data, known, notify, advance), known, advance)
    source, splits = survey.source, survey.splits
    assert source is not None  # its files were found or made
    for note in source.info.notes if known is None else ():
        notify(note)  # before what follows from it is refused
    identity = identity_of(source, advance)
    _check_first_sample(source, data)
    if known is None:
        prove_disjoint(source, splits)
    reader = StridedReader(source, survey, data, memory_for_fields(settings))
    if known is None:
        zeros = ZeroFrames()

        def look(rows: Int64, frames: Int64) -> Values:
            values = reader.read(rows, frames)
            zeros.note(rows, frames, values)
            return values

        if source.info.bytes <= _SMALL_BYTES:
            # read through once, so that a bad value stops a run before training and not in its evaluation
            for row in splits.all():
                look(np.array([row]), np.arange(survey.frames))
        fitted = fit(look, splits.train, survey.frames, reader.stored_frame_bytes)
        normalisation = fitted.normalisation
        for unresolved in _unresolved(survey, fitted):
            notify(unresolved)
        parameters = source.parameters(splits.all()), source.parameters(splits.train)
        scaling = ParameterScaling.fit(survey.parameter_names, *parameters)
        if notice := zeros.notice(source):
            notify(notice)
        for doubt in boundary_doubts(source, splits.all()):
            notify(doubt)
    else:
        normalisation = Normalisation.from_json(known["normalisation"])
        scaling = ParameterScaling.from_json(known["scaling"])
        if is_stamped(known["identity"]):
            notify(_STAMPED)
        identity = settle(source, known["identity"], identity)
    member = Member(**vars(survey), reader=reader, normalisation=normalisation, scaling=scaling, identity=identity)
    if known is not None:
        member.check_read_as(known)
    return member


def _unresolved(survey: MemberSurvey, fitted: Fitted) -> Iterator[str]:
    """What to know about channels that do not vary, or hardly, by the names of their fields."""
    owners = [spec.name for spec in survey.fields for _ in range(spec.channels)]
    for channels, taken in (
        (fitted.constant, "taken for constant: {} in the training trajectories vary by no more than their rounding"),
        (fitted.coarse, "poorly resolved: {} vary by less than 100 times their rounding"),
    ):
        if channels:
            names = ", ".join(dict.fromkeys(owners[channel] for channel in channels))
            which = f"{len(channels)} of {len(owners)} channels ({names})"
            yield taken.format(which) + "; if there is more to them, store them less their mean or in float64"


def _found_or_made(data: DataSettings, known: Mapping[str, Any] | None, notify: Tell, advance: Advance) -> list[Path]:
    """The files that are there, else those that are made now; says which, where neither user nor record did."""
    found = find_files(data, known)
    if not found:
        path = generated_path(data.task, data)
        return [make(data.task, data.generate, path, notify, advance, replace=True)]
    if data.path is None and (known is None or known["files"] != [str(path) for path in found]):
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        notify(f"data of {data.task}: {found[0]}{others}")
    return found


def _check_first_sample(source: Source, data: DataSettings) -> None:
    """Make sure that the first sample is well formed.

    Raises:
        DataError: it is not; says where and how to leave it out.
    """
    first = next((row for row in range(source.info.trajectories) if row not in data.exclude), 0)
    try:
        validate_sample(source.sample(first, 0))
    except DataError as problem:
        path, number = source.locate(first)
        remedy = f"leave it out with {exclusion([first], data.exclude)}"
        if _is_masked(source, first, data):
            remedy = (
                "the last trajectory lacks the same points: UPS reads no masks, so write a part without such points"
            )
        raise DataError(f"{path}, trajectory {number}, frame 0: {problem.message}", remedy) from problem


def _is_masked(source: Source, first: int, data: DataSettings) -> bool:
    """Whether the last trajectory that is used is not finite where the first is not: what a mask of the domain does."""
    last = next(row for row in reversed(range(source.info.trajectories)) if row not in data.exclude or row == first)
    absent = ~np.isfinite(source.read([first, last], [0]))
    return bool(last != first and absent.any() and np.array_equal(absent[0], absent[1]))


def memory_for_fields(settings: Settings) -> int:
    """Bytes of RAM that fields may take: an eighth of what is free, nothing under disk residency."""
    return 0 if settings.latent.residency == "disk" else available_memory().available_bytes // 8
