"""Build the wheel, install it into a new environment, and train with it from an empty folder.

    python tests/benchmarks/wheel.py [--offline]

The new environment gets its dependencies from the package index; with `--offline` it borrows those of the environment
that this runs in, which takes seconds instead of minutes. Exit code 0: the smoke preset trained to its end with the
installed package and nothing of the source tree.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offline", action="store_true", help="borrow the dependencies of this environment")
    offline = parser.parse_args().offline
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
        subprocess.run(build, cwd=ROOT, check=True)
        (wheel,) = folder.glob("*.whl")
        venv.create(folder / "environment", with_pip=True)
        binaries = folder / "environment/bin"
        install = [binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
        subprocess.run([*install, "--no-deps"] if offline else install, check=True)
        if offline:
            (site,) = (folder / "environment").glob("lib/python*/site-packages")
            (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return train(binaries, folder)


def train(binaries: Path, folder: Path) -> int:
    """Train in an empty folder and say which package did it."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    place = {"cwd": elsewhere, "env": {**environment, "HOME": str(elsewhere)}}
    shown = subprocess.run(
        [binaries / "python", "-c", "import ups_engine; print(ups_engine.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        **place,
    )
    print(shown.stdout.strip())
    if not Path(shown.stdout.strip()).is_relative_to(folder):
        print("that is not the installed package")
        return 1
    return subprocess.run([binaries / "ups", "train", "--headless", "--preset", "smoke"], **place).returncode


if __name__ == "__main__":
    sys.exit(main())
