"""A commented `ups.toml` to start from: every setting with its meaning, what it accepts and its value."""

import textwrap
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from ups_engine.config.archive import value_at
from ups_engine.config.layers import UNSET, ResolvedSettings
from ups_engine.config.mistakes import training_key
from ups_engine.config.notation import toml_value
from ups_engine.config.paths import SETTINGS, TABLES, allowed
from ups_engine.config.schema import TRAINED_STAGES, fallback_keys

_HEADER = """\
Settings of UPS for runs started in this folder.

Lines that begin with `#key` show the value that holds without them; take the `#` away to change it here.
Lines without `#` come from the preset, file and --set that this file was made with.
Over this file go ups.local.toml, --config FILE, variables such as UPS_TRAINING__BATCH_SIZE=8, and --set."""

_WIDTH = 110
_CHOSEN = ("preset ", "--config ", "--set")


def settings_template(resolved: ResolvedSettings) -> str:
    """Write the template.

    Args:
        resolved: what the layers say. Values from a preset, `--config` or `--set` are written as settings,
            all others as comments.

    Returns:
        TOML that sets the former and nothing else.
    """
    lines = [*_comment(_HEADER), "", *_settings("", resolved)]
    for path, section in TABLES.items():
        body = _settings(path, resolved)
        if body:
            lines += ["", f"[{path}]", *_comment(section.__doc__ or ""), *_inherited(path), "", *body]
    return "\n".join(lines) + "\n"


def _settings(table: str, resolved: ResolvedSettings) -> list[str]:
    """The settings of one table, without those of its inner tables."""
    blocks = [
        list(_setting(key, field, resolved)) for key, field in SETTINGS.items() if key.rpartition(".")[0] == table
    ]
    lines = [line for block in blocks if block for line in ("", *block)]
    return lines[1:]


def _setting(key: str, field: FieldInfo, resolved: ResolvedSettings) -> Iterator[str]:
    origins = {path: layer for path, layer in resolved.origins.items() if path == key or path.startswith(f"{key}.")}
    if training_key(key) is not None and origins[key].startswith(("training.", UNSET)):
        return
    yield from _comment(f"{field.description or ''}\nAccepts {allowed(field.annotation, field.metadata)}.".strip())
    table, dot, _ = key.rpartition(".")
    for path, layer in origins.items():  # one, or those of an open table's entries
        value, name = value_at(resolved.settings, path), path.removeprefix(table + dot)
        if value is None:
            yield f"#{name} =  # unset"
        else:
            yield f"{'' if layer.startswith(_CHOSEN) else '#'}{name} = {toml_value(value)}"


def _inherited(table: str) -> list[str]:
    """For a stage's table, which of its keys may be left to `training`."""
    above, _, stage = table.rpartition(".")
    if above != "stages" or stage not in TRAINED_STAGES:
        return []
    return _comment(f"Taken from [training] unless set here: {', '.join(fallback_keys(stage))}.")


def _comment(text: str) -> list[str]:
    return [
        f"# {line}".rstrip()
        for paragraph in text.split("\n")
        for line in (textwrap.wrap(paragraph, _WIDTH, break_long_words=False) or [""])
    ]
