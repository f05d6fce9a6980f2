"""What watching costs: opening a history of 500 MB, following a run that is as busy as runs get, all runs at rest.

    python tests/benchmarks/watch.py

Prints seconds, memory, and shares of a core.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import count
from pathlib import Path

import psutil

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.events import EventWriter
from ups_engine.runs.watch import RunsWatcher, Watcher

HISTORY_BYTES = 500e6
FOLLOWED_SECONDS = 20.0
RUNS = 200
STEP = (
    '{"seq":%d,"time":1732000000.123456,"kind":"step","stage":"operator","epoch":%d,"step":%d,"data":{"loss":0.0012,'
    '"grad_norm":0.12,"components":{"L_rec":1.0871216460373034e-07,"L_inv":1.0872509648152118e-07},'
    '"throughput":1234.5,"lr":1.4e-05,"epoch_steps":500}}\n'
)
HEARTBEAT = (
    '{"seq":%d,"time":1732000001.123456,"kind":"heartbeat","stage":null,"epoch":null,"step":null,'
    '"data":{"ram_bytes":332374016,"gpu":[],"throughput":1234.5}}\n'
)
EPOCH = (
    '{"seq":%d,"time":1732000001.5,"kind":"epoch","stage":"operator","epoch":%d,"step":%d,'
    '"data":{"loss":0.1,"best":0.5,"epoch_seconds":50.0}}\n'
)
BUSY_RUN = """
import sys, time
from pathlib import Path
from ups_engine.runs.events import EventWriter, heartbeat
data = {"loss": 0.1, "grad_norm": 0.1, "components": {f"L_{n}": 0.1 for n in range(5)}, "throughput": 1e3, "lr": 1e-4}
with EventWriter(Path(sys.argv[1])) as writer, heartbeat(writer, lambda: {"ram_bytes": 1, "gpu": []}):
    writer.emit("run_started", data={"stages": [{"name": "operator", "epochs": 1000}]})
    writer.emit("stage_started", stage="operator", data={"epochs": 1000})
    for step in range(1, 10**9):
        writer.emit("step", stage="operator", epoch=step // 2000, step=step, data=data)
        if step % 2000 == 0:
            writer.emit("epoch", stage="operator", epoch=step // 2000, step=step, data={"epoch_seconds": 2.0})
        time.sleep(0.001)
"""


def make_run(root: Path, name: str) -> RunDirectory:
    """A run that nobody works on."""
    return RunDirectory.create(root, name, settings_toml="", origins={}, argv=["ups", "train"], task="burgers1d")


def write_history(path: Path, size: float) -> None:
    """Write a history of a size in bytes, as a run of many days leaves it."""
    written, seqs = 0, count(1)
    with path.open("w") as file:
        for epoch in count():
            lines = []
            for step in range(epoch * 500 + 1, epoch * 500 + 501):
                lines.append(STEP % (next(seqs), epoch, step))
                if step % 20 == 0:
                    lines.append(HEARTBEAT % next(seqs))
            lines.append(EPOCH % (next(seqs), epoch, epoch * 500 + 500))
            written += file.write("".join(lines))
            if written > size:
                return


def opening(root: Path) -> None:
    """Time the first look at a long history."""
    run = make_run(root, "long")
    write_history(run.events, HISTORY_BYTES)
    watcher = Watcher(run)
    memory = psutil.Process().memory_info().rss
    began = time.perf_counter()
    watcher.poll()
    seconds = time.perf_counter() - began
    assert watcher.view is not None
    points = len(watcher.view.curves["operator"].loss.steps)
    print(f"{'open a history of 500 MB':<44} {seconds:8.2f} s   ({points} points of the loss)")
    more = psutil.Process().memory_info().rss - memory
    print(f"{'memory that it takes':<44} {more / 1e6:8.1f} MB")
    run.events.unlink()


def following(root: Path) -> None:
    """Measure the processor time that goes into watching a busy run."""
    run = make_run(root, "busy")
    process = subprocess.Popen([sys.executable, "-c", BUSY_RUN, str(run.events)])
    try:
        with closing(Watcher(run).start()) as watcher:
            while watcher.view is None or watcher.view.last_step is None:
                time.sleep(0.1)
            first, began, used = watcher.view.version, time.perf_counter(), time.process_time()
            time.sleep(FOLLOWED_SECONDS)
            used, passed = time.process_time() - used, time.perf_counter() - began
            views = watcher.view.version - first
    finally:
        process.kill()
        process.wait()
    rate = views / passed
    print(
        f"{'follow a busy run, four looks a second':<44} {100 * used / passed:8.2f} % of a core   ({rate:.1f} views/s)"
    )


def all_at_rest(root: Path) -> None:
    """Measure a look at many runs of which none changes."""
    for number in range(RUNS):
        with EventWriter(make_run(root, f"rest{number}").events) as writer:
            writer.emit("run_started", data={"stages": []})
            writer.emit("run_finished", data={"outcome": "finished"})
    watcher = RunsWatcher(root)
    watcher.poll()
    used = time.process_time()
    for _ in range(10):
        watcher.poll()
    share = (time.process_time() - used) / 10
    print(f"{f'{RUNS} runs at rest, one look a second':<44} {100 * share:8.2f} % of a core")


def main() -> None:
    """Measure everything."""
    for work in (opening, following, all_at_rest):
        with tempfile.TemporaryDirectory() as folder:
            work(Path(folder))


if __name__ == "__main__":
    main()
