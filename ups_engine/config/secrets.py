"""What must never be printed or archived: read from `.secrets.toml` and the environment only."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import SecretStr

from ups_engine.config.files import read_file
from ups_engine.config.section import Section
from ups_engine.errors import SettingsError

FILE = ".secrets.toml"
VARIABLE = "UPS_SECRETS__"


class Secrets(Section):
    """Keys to services. No part of the settings; shown as asterisks wherever they are printed by accident."""

    wandb_api_key: SecretStr | None = None
    """Weights & Biases; unset leaves it to that library's own login."""


def read_secrets(files: Iterable[Path], environment: Mapping[str, str]) -> Secrets:
    """Read all secrets, later files over earlier ones and `UPS_SECRETS__NAME` variables over files.

    Args:
        files: the `.secrets.toml` files that exist, keys at their top level.
        environment: where the variables are looked up.

    Raises:
        SettingsError: an unknown name or a value that is no text. The message never holds a value.
    """
    values: dict[str, str] = {}
    for path in files:
        layer = read_file(path, str(path))
        for name, value in layer.tables.items():
            _store(values, name, value, layer.where((name,)))
    for variable in sorted(environment):
        if variable.startswith(VARIABLE):
            name = variable.removeprefix(VARIABLE).lower()
            _store(values, name, environment[variable], f"environment {variable}")
    return Secrets.model_validate(values)


def _store(values: dict[str, str], name: str, value: object, where: str) -> None:
    known = list(Secrets.model_fields)
    if name not in known:
        likely = (difflib.get_close_matches(name, known, n=1, cutoff=0.0) or known)[0]
        raise SettingsError(f"{where}: {name} is no known secret", f"the nearest is {likely}; settings go to ups.toml")
    if not isinstance(value, str):
        raise SettingsError(f"{where}: {name} must be a text in quotes", "put the key between quotes")
    values[name] = value
