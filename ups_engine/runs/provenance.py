"""Which UPS made a run."""

import subprocess
from importlib import metadata
from pathlib import Path


def version() -> str:
    """Give the version of the installed distribution."""
    return metadata.version("universal-physics-stack")


def source_commit() -> str | None:
    """Name the git commit of UPS's own source tree, with `-dirty` behind it when files were changed.

    Returns:
        None for an installed UPS, even where its virtual environment lies inside somebody's repository.
    """
    source = Path(__file__).parents[2]
    if not (source / ".git").exists():
        return None
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
