"""The README's picture of the dashboard: the recorded run on the GPU while its operator trained.

`python tests/tui/readme_picture.py` makes it anew; a test holds that it is what the command makes today.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from recorded_runs import BEFORE_FINISH, owned, recorded

PICTURE = Path(__file__).resolve().parents[2] / ".github" / "dashboard.svg"


def make(folder: Path) -> str:
    """Let `ups tui RUN --picture` draw the run in an empty working folder."""
    run = recorded(folder, until=BEFORE_FINISH)
    command = ["tui", run.name, "--picture", "dashboard.svg", "--screen", "dashboard", "--size", "120x40"]
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("UPS_", "LC_", "NO_COLOR"))}
    env = {**outside, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "LANG": "C.UTF-8", "TZ": "UTC"}
    with owned(run):
        subprocess.run([sys.executable, "-m", "ups_app", *command], cwd=folder, env=env, check=True)
    return (folder / "dashboard.svg").read_text("utf-8")


def without_top_line(picture: str) -> str:
    """A picture without the top line, which names every screen, and without the number that all it shows gives it."""
    picture = re.sub(r"terminal-\d+", "terminal", picture)
    return re.sub(r'<rect [^>]*y="1.5"[^>]*/>|<text [^>]*-line-0\)">[^<]*</text>', "", picture)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        PICTURE.write_text(make(Path(folder)), "utf-8")
