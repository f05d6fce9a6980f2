"""Keys of the earlier research code's settings files, as UPS knows them now."""

from collections.abc import Callable
from dataclasses import dataclass

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


_MOVED: dict[str, tuple[str, Callable[[object], object]]] = {
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
}

MOVED_TABLES = {"optimizer": "training.optimizer", "scheduler": "training.scheduler", "evaluation": "stages.evaluation"}
"""Tables that stand elsewhere now, by their earlier path."""

_NO_WORKERS = "has no effect: batches are gathered from memory, so there are no loader processes to set up"
_DROPPED = {
    "training.num_workers": _NO_WORKERS,
    "training.pin_memory": _NO_WORKERS,
    "training.prefetch_factor": _NO_WORKERS,
    "training.use_parallel_encoding": "has no effect: fields are always encoded in large batches on the device",
}


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
    if key in _MOVED:
        target, convert = _MOVED[key]
        now = convert(value)
        became = target if now is value else f"{target} = {toml_value(now)}"
        return Translation(target, now, f"{key} is now {became}")
    if key in _DROPPED:
        return Translation(None, None, f"{key} {_DROPPED[key]}")
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
