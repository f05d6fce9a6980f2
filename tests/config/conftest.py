from collections.abc import Callable
from pathlib import Path

import pytest

from ups_engine.config.layers import ResolvedSettings, load_settings

Load = Callable[..., ResolvedSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """load_settings in an empty working folder and home, with an empty environment unless one is given."""
    home = tmp_path / "home"
    home.mkdir()

    def load_here(**layers: object) -> ResolvedSettings:
        return load_settings(**{"folder": tmp_path, "home": home, "env": {}, **layers})

    return load_here
