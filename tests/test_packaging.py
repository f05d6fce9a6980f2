"""The wheel: what it holds, what it asks for, and that it finds its settings away from the source tree."""

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILTIN = "ups_engine/config/builtin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def read(wheel, name):
    (path,) = (n for n in wheel.namelist() if n.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def test_the_wheel_ships_every_settings_file_unchanged(wheel):
    files = list((ROOT / "settings").rglob("*.toml"))
    assert ROOT / "settings" / "default.toml" in files
    for path in files:
        assert wheel.read(f"{BUILTIN}/{path.relative_to(ROOT / 'settings').as_posix()}") == path.read_bytes()


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert tops == {"ups_app", "ups_engine"}
    for package in tops:
        for path in (ROOT / package).rglob("*.py"):
            assert path.relative_to(ROOT).as_posix() in wheel.namelist()
    assert "MIT License" in read(wheel, "licenses/LICENSE")


def test_the_wheel_installs_the_command_and_bounds_torch(wheel):
    assert "ups = ups_app.cli.main:main" in read(wheel, "entry_points.txt")
    metadata = email.message_from_string(read(wheel, "METADATA"))
    assert metadata["Name"] == "universal-physics-stack"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "torch<2.14,>=2.11" in metadata.get_all("Requires-Dist")


def test_an_unpacked_wheel_finds_its_settings_from_another_folder(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    code = (
        "from ups_engine.config import layers\n"
        "print(layers.__file__)\n"
        "print(layers.load_settings(env={}).origins['seed'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    file, origin = done.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path / "site")
    assert origin == "settings/default.toml"


def test_the_package_can_be_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "ups_app", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
