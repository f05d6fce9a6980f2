"""Which trajectories train, choose and test: drawn or declared, disjoint, and proven so by content."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ups_engine.config.data import DataSettings
from ups_engine.data.sources.base import Source
from ups_engine.discretisation.arrays import Int64
from ups_engine.errors import DataError, SettingsError

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
Groups = Mapping[tuple[str | None, Any], Int64]
"""Trajectories by (declared split, PDE parameters), in file order."""
_WINDOWS = 8  # trajectories of a split whose frames are looked at, all of them
_SMALL_GROUP = 10  # files of fewer trajectories are drawn from together


@dataclass(frozen=True, eq=False)
class Splits:
    """Trajectory numbers of a source, by use: each sorted, none empty, none shared."""

    train: Int64
    val: Int64
    test: Int64

    def __post_init__(self) -> None:
        for name in SPLITS:
            rows = np.unique(np.asarray(getattr(self, name), dtype=np.int64))
            rows.flags.writeable = False
            object.__setattr__(self, name, rows)
            if not rows.size:
                raise DataError(f"no trajectories are left for the {name} split")
        if len(np.unique(self.all())) != len(self.all()):
            raise DataError("the splits share trajectories")

    def of(self, name: SplitName) -> Int64:
        """Trajectories of a split."""
        rows: Int64 = getattr(self, name)
        return rows

    def all(self) -> Int64:
        """Trajectories of all splits: train, then val, then test."""
        return np.concatenate([self.train, self.val, self.test])

    def to_json(self) -> dict[str, list[int]]:
        """For the run's record."""
        return {name: self.of(name).tolist() for name in SPLITS}

    @classmethod
    def from_json(cls, stored: Mapping[str, Sequence[int]]) -> "Splits":
        """From the run's record."""
        return cls(*(np.asarray(stored[name], dtype=np.int64) for name in SPLITS))


def draw_splits(n: int, val_fraction: float, test_fraction: float, seed: int) -> Splits:
    """PDEBench's convention: the first trajectories test; of the rest, validation is drawn at random.

    Args:
        n: number of trajectories, at least 3.
        val_fraction: share that validates; at least one trajectory.
        test_fraction: share that tests; at least one trajectory.
        seed: decides the draw. Equal seeds and sizes give equal draws, so that PDEBench's files of one task, which
            share their initial conditions, hold out the same ones.

    Raises:
        DataError: fewer than 3 trajectories.
    """
    if n < 3:
        raise DataError(f"{n} trajectories cannot be split into training, validation and test", "at least 3 are needed")
    n_test = min(max(1, round(n * test_fraction)), n - 2)
    n_val = min(max(1, round(n * val_fraction)), n - n_test - 1)
    rest = n_test + _shuffled(n - n_test, seed)
    return Splits(train=rest[n_val:], val=rest[:n_val], test=np.arange(n_test))


def parameter_groups(source: Source) -> Groups:
    """All trajectories of one file or many."""
    groups: dict[tuple[str | None, Any], list[Int64]] = {}
    for part in source.parts():
        rows = np.arange(part.start, part.stop)
        values = source.parameters(rows)
        for distinct in np.unique(values, axis=0):
            groups.setdefault((part.split, tuple(distinct)), []).append(rows[(values == distinct).all(axis=1)])
    return {key: _joined(rows) for key, rows in groups.items()}


def choose_splits(groups: Groups, data: DataSettings, seed: int) -> Splits:
    """Take the splits that the files declare, and draw those they do not from the training files.

    Draws are made within each set of files of equal PDE parameters, so that every parameter is trained and tested on.

    Args:
        groups: all trajectories.
        data: shares drawn, trajectories left out, and how many are used: the first, of several files in proportion.
        seed: decides the draw of validation trajectories.

    Raises:
        SettingsError: an excluded trajectory that does not exist, or a limit above what there is.
        DataError: too few trajectories.
    """
    total = sum(len(rows) for rows in groups.values())
    for row in data.exclude:
        if not 0 <= row < total:
            raise SettingsError(f"data.exclude names trajectory {row}, but there are {total}, counted from 0")
    used = {key: np.setdiff1d(rows, data.exclude) for key, rows in groups.items()}
    groups = _limited({key: rows for key, rows in used.items() if rows.size}, data.trajectories)
    if len({split for split, _ in groups}) == 1:  # one split alone declares nothing: it is all there is
        groups = {(None, values): rows for (_, values), rows in groups.items()}
    declared = {name: _joined(rows for (split, _), rows in groups.items() if split == name) for name in SPLITS}
    pool = [rows for (split, _), rows in groups.items() if split in (None, "train")]
    if declared["val"].size and declared["test"].size:
        return Splits(_joined(pool), declared["val"], declared["test"])
    if min((len(rows) for rows in pool), default=0) < _SMALL_GROUP:
        pool = [_joined(pool)]
    train, val, test = [], [declared["val"]], [declared["test"]]
    for rows in pool:
        drawn = draw_splits(len(rows), data.val_fraction, data.test_fraction, seed)
        train.append(rows[drawn.train])
        (train if declared["val"].size else val).append(rows[drawn.val])
        (train if declared["test"].size else test).append(rows[drawn.test])
    return Splits(_joined(train), _joined(val), _joined(test))


def prove_disjoint(source: Source, splits: Splits) -> None:
    """Show by content that no trajectory of one split is also in another, nor a window of the same series.

    The beginnings of all first frames are hashed (64 KiB of each at most). Where two agree across splits, first,
    middle and last frame are compared in full: equal initial states under other PDE parameters are no duplicates.
    Windows cut from one series overlap without beginning alike: all frames of some validation and test trajectories
    are held against the first frames of the other splits.

    Raises:
        DataError: names the duplicates and how to leave them out, or the windows that overlap.
    """
    seen: dict[bytes, list[tuple[SplitName, int]]] = {}
    twins: list[tuple[SplitName, int, SplitName, int]] = []
    for name in SPLITS:
        for row in splits.of(name).tolist():
            digest = _digest(source, row)
            others = [entry for entry in seen.get(digest, []) if entry[0] != name]
            twin = next((other for other in others if _overlap(source, other[1], row, 0)), None)
            if twin is not None:
                twins.append((name, row, *twin))
            seen.setdefault(digest, []).append((name, row))
    if twins:
        name, row, other, twin_row = twins[0]
        more = f" (and {len(twins) - 1} more like it)" if len(twins) > 1 else ""
        rows = ",".join(str(entry[1]) for entry in twins[:50])
        raise DataError(
            f"trajectory {row} of the {name} split is also in the {other} split as trajectory {twin_row}{more}",
            f"leave the copies out with --set 'data.exclude=[{rows}]'",
        )
    for name in ("val", "test"):
        for row in splits.of(name)[:_WINDOWS].tolist():
            _refuse_overlap(source, name, row, seen)


def _refuse_overlap(source: Source, name: SplitName, row: int, seen: dict[bytes, list[tuple[SplitName, int]]]) -> None:
    for frame in range(1, source.info.frames - 1):  # one window may end where the next begins
        for other, begins in seen.get(_digest(source, row, frame), []):
            if other != name and _overlap(source, row, begins, frame):
                raise DataError(
                    f"trajectory {row} of the {name} split and {begins} of the {other} split are windows of one series:"
                    f" frame {frame} of the one is frame 0 of the other",
                    "scores on frames that were trained on mean nothing; cut the series in time first, and give the"
                    " parts as files named _train, _val and _test",
                )


def _digest(source: Source, row: int, frame: int = 0) -> bytes:
    return hashlib.blake2b(source.head(row, frame), digest_size=16).digest()


def _overlap(source: Source, earlier: int, later: int, offset: int) -> bool:
    """Whether the first, middle and last frame that a trajectory would share with one that begins later are equal."""
    common = source.info.frames - offset
    frames = np.unique([0, common // 2, common - 1])
    return bool(np.array_equal(source.read([earlier], frames + offset), source.read([later], frames), equal_nan=True))


def _limited(groups: Groups, limit: int | None) -> Groups:
    """The first trajectories of each group, `limit` in all, shared out by the groups' sizes."""
    sizes = np.array([len(rows) for rows in groups.values()], dtype=np.int64)
    total = int(sizes.sum())
    if limit is None or limit == total:
        return groups
    if limit > total:
        raise SettingsError(
            f"data.trajectories = {limit}, but the data holds {total}", "lower it, or leave it out to use all"
        )
    # largest remainders: floor of the exact shares, the rest to those that lost most
    shares = sizes * limit / total
    counts = np.floor(shares).astype(np.int64)
    counts[np.argsort(counts - shares, kind="stable")[: limit - int(counts.sum())]] += 1
    return {key: rows[:count] for (key, rows), count in zip(groups.items(), counts.tolist(), strict=True)}


def _joined(pieces: Any) -> Int64:
    return np.sort(np.concatenate([np.empty(0, np.int64), *pieces]))


def _shuffled(n: int, seed: int) -> Int64:
    """A permutation that depends on nothing but n and the seed, in all versions of numpy."""
    words = np.random.Philox(key=seed % 2**64).random_raw(n)
    return np.argsort(words, kind="stable")
