"""Settings of earlier versions, as UPS knows them now.

Version 0 is what the earlier research code's files hold, 1 and later are UPS's own. A `Migration` says what changed on
the way to a version: keys that moved, with what became of their values, and keys that have nothing to set any more.
Files, variables and --set are translated key by key, with a notice each. What a run archived is of one version, and is
brought up to date as a whole, without a word; settings that came later take the value with which the run behaves as
it did (`Since`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ups_engine.config.notation import toml_value


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


def _own_parameter(tables: Mapping[str, object]) -> dict[str, object]:
    """Version 1 archived the parameters of both PDEs that it could solve, whichever was meant."""
    data = tables.get("data")
    generate = data.get("generate") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(generate, Mapping):
        return dict(tables)
    own = {"burgers1d": "nu", "advection1d": "beta"}.get(str(data.get("task")))
    kept = {name: value for name, value in generate.items() if name not in ("nu", "beta")}
    kept["parameters"] = {own: generate[own]} if own in generate else {}
    return {**tables, "data": {**data, "generate": kept}}


@dataclass(frozen=True)
class Migration:
    """What changed from the version before.

    Args:
        version: that it leads to.
        moved: new dotted paths by the old ones, with what becomes of the value.
        tables: tables that stand elsewhere now, by their earlier path.
        dropped: why keys have no effect any more.
        archive: brings the tables of an archive of the version before up to date.
    """

    version: int
    moved: Mapping[str, tuple[str, Callable[[object], object]]] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    archive: Callable[[Mapping[str, object]], dict[str, object]] = dict


_NO_WORKERS = "has no effect: batches are gathered from memory, so there are no loader processes to set up"

MIGRATIONS = (
    Migration(
        version=1,
        moved={
            "data.field_name": ("data.fields", _as_list),
            "training.amp": ("training.precision", _as_precision),
            "training.dt": ("data.dt", _same),
            "training.time_stride": ("data.time_stride", _same),
            "training.latent_cache_dir": ("latent.cache_dir", _same),
            "training.latent_cache_dtype": ("latent.cache_dtype", _same),
            "training.distill_micro_batch": ("stages.consistency_distill.distill_micro_batch", _same),
            "training.distill_num_taus": ("stages.consistency_distill.distill_num_taus", _same),
            "evaluation.enabled": ("stages.evaluation.epochs", _as_epochs),
            "evaluation.split": ("stages.evaluation.split", _same),
        },
        tables={
            "optimizer": "training.optimizer",
            "scheduler": "training.scheduler",
            "evaluation": "stages.evaluation",
        },
        dropped={
            "training.num_workers": _NO_WORKERS,
            "training.pin_memory": _NO_WORKERS,
            "training.prefetch_factor": _NO_WORKERS,
            "training.use_parallel_encoding": "has no effect: fields are always encoded in large batches on the device",
        },
    ),
    Migration(
        version=2,
        moved={
            "data.generate.nu": ("data.generate.parameters.nu", _same),
            "data.generate.beta": ("data.generate.parameters.beta", _same),
        },
        archive=_own_parameter,
    ),
)
"""Every migration, the oldest first."""

MOVED_TABLES: Mapping[str, str] = {old: new for migration in MIGRATIONS for old, new in migration.tables.items()}
"""Tables that stand elsewhere now, by any earlier path."""


def upgrade(tables: Mapping[str, object], version: int) -> dict[str, object]:
    """Bring the tables of an archive of a version up to date; settings that came later stay absent."""
    now = dict(tables)
    for migration in MIGRATIONS:
        if migration.version > version:
            now = migration.archive(now)
    return now


def translate(key: str, value: object) -> Translation | None:
    """Translate one earlier setting.

    Args:
        key: the dotted path as the user wrote it.
        value: its value.

    Returns:
        The translation, or None when the key is not one of the earlier code's.

    Raises:
        RefusedError: the value has no meaning here.
    """
    for migration in MIGRATIONS:
        if key in migration.moved:
            target, convert = migration.moved[key]
            now = convert(value)
            became = target if now is value else f"{target} = {toml_value(now)}"
            return Translation(target, now, f"{key} is now {became}")
        if key in migration.dropped:
            return Translation(None, None, f"{key} {migration.dropped[key]}")
    if key == "data.split":
        if value != "train":
            raise RefusedError(
                "can only be train, UPS draws validation and test splits itself;"
                " set stages.evaluation.split to choose what is evaluated"
            )
        return Translation(None, None, "data.split has no effect: UPS trains on the training split and draws all three")
    table, _, name = key.rpartition(".")
    if table in MOVED_TABLES:
        target = f"{MOVED_TABLES[table]}.{name}"
        return Translation(target, value, f"{key} is now {target}")
    return None
