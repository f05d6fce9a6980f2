"""How long a person waits: commands that should answer at once, and files that should open at once.

    python tests/benchmarks/latency.py

Prints the median of ten for each. Figures of a shared machine vary; compare rows of one call.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

REPEATS = 10


def measure(what: str, work: Callable[[], object]) -> None:
    """Print the median time of some work."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    print(f"{what:<44} {statistics.median(seconds):8.3f} s")


def command(folder: Path, *words: str) -> Callable[[], object]:
    """A run of `ups` in a folder."""
    line = [sys.executable, "-m", "ups_app", *words]
    return lambda: subprocess.run(line, cwd=folder, check=True, capture_output=True)


def large_file(folder: Path) -> Path:
    """A file of 8 GB in PDEBench's layout that takes no space on disk."""
    path = folder / "1D_Burgers_Sols_Nu0.01.hdf5"
    with h5py.File(path, "w") as file:
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        file.create_dataset("tensor", (10000, 201, 1024), np.float32, dcpl=early)
        file["x-coordinate"] = ((np.arange(1024) + 0.5) / 1024).astype(np.float32)
        file["t-coordinate"] = np.linspace(0, 2.01, 202, dtype=np.float32)
    return path


def main() -> None:
    """Measure everything."""
    from ups_engine.data.sources import open_source

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure("ups --help", command(folder, "--help"))
        measure("ups config show --origin", command(folder, "config", "show", "--origin"))
        measure("ups runs list", command(folder, "runs", "list"))
        path = large_file(folder)
        measure("open an 8 GB file and read a frame", lambda: open_source(path).read([9999], [200]))


if __name__ == "__main__":
    main()
