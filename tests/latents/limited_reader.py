"""Enter a control group before anything large is loaded; then check a cache, choose, and read it in random batches.

`python limited_reader.py GROUP FOLDER SAMPLES FRAMES`; what was found is printed as JSON.
"""

import os
import sys
from pathlib import Path

BATCHES = 64


def main(folder: Path, samples: int, frames: int) -> None:
    import json

    import numpy as np
    import torch
    from toy_cache import toy_target

    from ups_engine.latents.checking.report import check_targets
    from ups_engine.latents.reading.opening import open_latents
    from ups_engine.latents.target import CacheContext

    target = toy_target(folder, samples=samples, frames=frames, dtype="float16")
    report = check_targets(CacheContext((target,), "a test", "cpu", "auto"), gpus=[])
    said: list[str] = []
    reader = open_latents(target, report.residency.choice, torch.device("cpu"), said.append)
    rows = np.random.default_rng(0).permutation(np.tile(np.arange(samples), 2))
    sums = np.zeros(samples)
    for some in np.array_split(rows, BATCHES):
        for row in some.tolist():  # a batch of whole trajectories would be a tenth of the limit
            sums[row] = float(reader.gather(np.array([row]), np.zeros(1, dtype=np.int64), frames - 1)[0, :, 0, 0].sum())
    reader.close()
    print(json.dumps({**report.to_json(), "required": report.required, "sums": sums.tolist(), "said": said}))


if __name__ == "__main__":
    (Path(sys.argv[1]) / "cgroup.procs").write_text(str(os.getpid()))
    main(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
