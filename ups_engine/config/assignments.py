"""Settings given as text: environment variables and `--set KEY=VALUE`."""

import difflib
import tomllib
from collections.abc import Mapping

from ups_engine.config import secrets
from ups_engine.config.files import Layer
from ups_engine.config.paths import SETTINGS, TABLES, accepts
from ups_engine.errors import SettingsError

PREFIX = "UPS_"


def parse_value(text: str, key: str, where: str) -> object:
    """Read a value as TOML; what is no TOML is text.

    Args:
        text: the value as given; empty unsets the key.
        key: dotted path it is for. A setting that holds text takes it as it stands, `007` and `no` included,
            and only quotes around it are taken off.
        where: the layer, for messages.

    Raises:
        SettingsError: it holds bytes that are no UTF-8 text and could not be archived.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"{where}: {key} holds bytes that are not UTF-8", "use a path or name in UTF-8") from None
    if not text.strip():
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # a number of 5,000 digits is a plain ValueError
        return text
    value: object = parsed["value"]
    holds_text = key in SETTINGS and accepts(SETTINGS[key].annotation, str)
    if len(parsed) > 1 or (holds_text and not isinstance(value, str)):
        return text
    return value


def set_layer(assignment: str) -> Layer:
    """The layer of one `--set KEY=VALUE`.

    Raises:
        SettingsError: it is not of that form.
    """
    key, equals, text = assignment.partition("=")
    key = key.strip()
    if not equals or not key:
        raise SettingsError(f"--set {assignment}: expected KEY=VALUE", "for example --set training.batch_size=8")
    return _layer("--set", key, text)


def environment_layers(environment: Mapping[str, str]) -> list[Layer]:
    """A layer for every `UPS_` variable that is a setting, `UPS_A__B` after `UPS_A`.

    A variable without a double underscore that names no top-level key belongs to something else (`UPS_DEBUG` is a
    switch of the command line, a container's service links look like `UPS_PORT`) and is left alone,
    unless it is so near a setting's name that it must be a slip.

    Raises:
        SettingsError: a variable is such a slip, or holds bytes that are not UTF-8.
    """
    layers = []
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable.startswith(secrets.VARIABLE):
            continue
        key = variable.removeprefix(PREFIX).lower().replace("__", ".")
        if "." in key or key in TABLES or key in SETTINGS:
            layers.append(_layer(f"environment {variable}", key, environment[variable]))
        elif meant := _slip(key):
            raise SettingsError(
                f"environment {variable} is no setting; the nearest key is {meant}",
                f"set {PREFIX}{meant.replace('.', '__').upper()}, tables and keys joined by two underscores",
            )
    return layers


def _slip(key: str) -> str | None:
    """The setting that a variable's name without a double underscore was most likely meant for."""
    deepest_first = sorted(SETTINGS, key=lambda path: path.count("."), reverse=True)
    names = {path.rpartition(".")[2]: path for path in deepest_first}
    names |= {path.replace(".", "_"): path for path in SETTINGS}
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.85)
    return names[close[0]] if close else None


def _layer(name: str, key: str, text: str) -> Layer:
    *tables, last = key.split(".")
    value = parse_value(text, key, name)
    tree: dict[str, object] = {last: value}
    for table in reversed(tables):
        tree = {table: tree}
    return Layer(name, tree)
