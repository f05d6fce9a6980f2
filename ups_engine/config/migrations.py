"""Settings of earlier versions, as UPS knows them now.

Version 0 is what the earlier research code's files hold, 1 and later are UPS's own. A `Migration` says what changed on
the way to a version: keys that moved, with what became of their values, and keys that have nothing to set any more.
Files, variables and --set are translated with a notice for each key; what a run archived, which states its version, is
translated from that version on without a word. Settings that came later than an archive take the value with which the
run behaves as it did (`Since`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ups_engine.config.notation import toml_value
from ups_engine.config.paths import LATER


@dataclass(frozen=True)
class Translation:
    """What an earlier key became.

    Args:
        key: the dotted path it has now; None when nothing is left to set.
        value: the value it has there.
        notice: one sentence for the user, without the place where the key stood.
    """

    key: str | None
    value: object
    notice: str


class RefusedError(ValueError):
    """An earlier key holds a value that has no meaning here; the message says what to do."""


def _same(value: object) -> object:
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_precision(value: object) -> object:
    if not isinstance(value, bool):
        raise RefusedError("must be true or false; set training.precision to choose among fp32, tf32 and bf16")
    return "bf16" if value else "fp32"


def _as_epochs(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def _nothing_but_train(value: object) -> object:
    if value != "train":
        raise RefusedError(
            "can only be train, UPS draws validation and test splits itself;"
            " set stages.evaluation.split to choose what is evaluated"
        )
    return value


@dataclass(frozen=True)
class Moved:
    """A key that stands elsewhere now.

    Args:
        key: the dotted path that it has from this version on.
        convert: what became of its value; raises RefusedError where that has no meaning here.
        task: the only task that it was for; None where it was for all.
    """

    key: str
    convert: Callable[[object], object] = _same
    task: str | None = None


@dataclass(frozen=True)
class Dropped:
    """A key that has nothing to set any more.

    Args:
        why: said after the key.
        convert: raises RefusedError where dropping the value would make the result wrong.
    """

    why: str
    convert: Callable[[object], object] = _same


@dataclass(frozen=True)
class Migration:
    """What changed from the version before.

    Args:
        version: that it leads to.
        keys: what became of single keys, by their earlier dotted paths.
        tables: tables that stand elsewhere now, by their earlier paths; their keys kept their names.
    """

    version: int
    keys: Mapping[str, Moved | Dropped]
    tables: Mapping[str, str] = field(default_factory=dict)

    def change(self, key: str) -> Moved | Dropped | None:
        """What became of a key; None where it stayed."""
        table, _, name = key.rpartition(".")
        if key not in self.keys and table in self.tables:
            return Moved(f"{self.tables[table]}.{name}")
        return self.keys.get(key)


_NO_WORKERS = Dropped("has no effect: batches are gathered from memory, so there are no loader processes to set up")

MIGRATIONS = (
    Migration(
        version=1,
        keys={
            "data.field_name": Moved("data.fields", _as_list),
            "data.split": Dropped(
                "has no effect: UPS trains on the training split and draws all three", _nothing_but_train
            ),
            "training.amp": Moved("training.precision", _as_precision),
            "training.dt": Moved("data.dt"),
            "training.time_stride": Moved("data.time_stride"),
            "training.latent_cache_dir": Moved("latent.cache_dir"),
            "training.latent_cache_dtype": Moved("latent.cache_dtype"),
            "training.distill_micro_batch": Moved("stages.consistency_distill.distill_micro_batch"),
            "training.distill_num_taus": Moved("stages.consistency_distill.distill_num_taus"),
            "training.num_workers": _NO_WORKERS,
            "training.pin_memory": _NO_WORKERS,
            "training.prefetch_factor": _NO_WORKERS,
            "training.use_parallel_encoding": Dropped(
                "has no effect: fields are always encoded in large batches on the device"
            ),
            "evaluation.enabled": Moved("stages.evaluation.epochs", _as_epochs),
        },
        tables={
            "optimizer": "training.optimizer",
            "scheduler": "training.scheduler",
            "evaluation": "stages.evaluation",
        },
    ),
    Migration(
        version=2,
        keys={  # version 1 archived both, whichever task was meant
            "data.generate.nu": Moved("data.generate.parameters.nu", task="burgers1d"),
            "data.generate.beta": Moved("data.generate.parameters.beta", task="advection1d"),
        },
    ),
)
"""Every migration, the oldest first."""

MOVED_TABLES = frozenset(table for migration in MIGRATIONS for table in migration.tables)
"""Tables that stand elsewhere now, by any earlier path."""

SCHEMA = "schema"
"""The key of an archive that states its version; the first version states none."""
VERSION = max([migration.version for migration in MIGRATIONS] + [since.version for since in LATER.values()])
"""Of the settings today."""


def translate(key: str, value: object, version: int, task: object) -> Translation | None:
    """Bring one setting up to date.

    Args:
        key: the dotted path as it was written.
        value: its value.
        version: of the settings that it was written for.
        task: the task that the settings choose.

    Returns:
        The translation, or None when nothing became of it since that version.

    Raises:
        RefusedError: the value has no meaning here.
    """
    now, held = key, value
    for migration in MIGRATIONS:
        change = migration.change(now) if migration.version > version else None
        if change is None:
            continue
        held = change.convert(held)
        if isinstance(change, Dropped):
            return Translation(None, None, f"{key} {change.why}")
        if change.task not in (None, task):
            return Translation(None, None, f"{key} has no effect: it is for {change.task} alone")
        now = change.key
    if now == key and held is value:
        return None
    return Translation(
        now, held, f"{key} is now {now}" if held is value else f"{key} is now {now} = {toml_value(held)}"
    )
