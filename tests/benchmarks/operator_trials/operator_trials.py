"""Which operator learns Burgers' equation best in a given time, and which way of running a step is fastest.

    python operator_trials.py --plan smoke|speed|accuracy|final --out DIR --budget SECONDS [--only NAME,..]
        [--skip N] [--set KEY=JSON]... [--device cpu] [--cells 1024] [--list]

Each trial is a process of its own, so that its seconds count from the start of the interpreter, its compiler starts
cold and its failure ends nothing else; with several GPUs, one trial runs on each (in `smoke`, where no time is
compared, four). Each result is one JSON line,
printed and appended to DIR/results.jsonl as soon as it is there. A trial that would not end within the budget is not
begun and named as skipped. `--set` changes every trial of the plan: a field of `Trial`, `Recipe` or `Shape`.
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trial_data import make_data
from trial_models import Shape
from trial_plans import PLANS
from trial_speed import ceilings, speed
from trial_training import CHUNK, Recipe, Trainer, evaluate, process_age, train

START_AND_END_S = 14.0
"""What a training trial takes beside its seconds: the interpreter's end, evaluation, and its start under load."""
TEST = 128


@dataclass(frozen=True)
class Trial:
    """One process.

    Args:
        kind: `train` for `seconds` from the start of the process, then evaluate; `speed`, time the steps of `measure`;
            `smoke`, the same steps eager and replayed, a second of training, an evaluation; `ceilings` of the device.
        cache: name of a folder of compiled code to share with others; empty: begin with none.
        measure: (batch, horizon) pairs.
        profile: also list the kernels of the first measured step.
    """

    name: str
    kind: str = "train"
    seconds: float = 60.0
    recipe: Recipe = field(default_factory=Recipe)
    reduce: str = "sample"
    trajectories: int = 1024
    cache: str = ""
    measure: tuple[tuple[int, int], ...] = ((256, 1), (256, 2), (256, 4))
    profile: bool = False
    seed: int = 0


def trial_from(flat: dict[str, Any]) -> Trial:
    """A trial from the fields of `Trial`, `Recipe` and `Shape` together.

    Raises:
        KeyError: for a field that none of them has.
    """
    rest: dict[str, Any] = {
        key: tuple(map(tuple, v)) if key in ("measure", "horizons") else v for key, v in flat.items()
    }
    parts: list[dict[str, Any]] = []
    for kind in (Shape, Recipe, Trial):
        own = {f.name for f in fields(kind)} & rest.keys()
        parts.append({key: rest.pop(key) for key in own})
    if rest:
        raise KeyError(f"no such field: {', '.join(rest)}")
    return Trial(recipe=Recipe(shape=Shape(**parts[0]), **parts[1]), **parts[2])


def _smoke(trial: Trial, frames: Tensor, test: Tensor) -> dict[str, object]:
    """The same samples replayed, eager and uncompiled, for each horizon; then a second of training."""
    trainer = Trainer(trial.recipe, frames)
    before = [tensor.clone() for tensor in trainer.state()]
    preparing: dict[int, float] = {}
    ends: dict[int, list[Tensor]] = {}
    for plain in (False, True):
        if plain:
            trainer.choose("none")
        for horizon in (1, 2, 4):
            began = time.perf_counter()
            steps: list[Callable[[], None]] = [] if plain else [trainer.prepared(horizon)]
            steps.append(partial(trainer.step, horizon))
            preparing.setdefault(horizon, round(time.perf_counter() - began, 2))
            for step in steps:
                torch.manual_seed(horizon)
                trainer.sampler.refill(horizon)
                for tensor, value in zip(trainer.state(), before, strict=True):
                    tensor.copy_(value)
                for _ in range(CHUNK):
                    step()
                ends.setdefault(horizon, []).append(trainer.flat.detach().clone())
    trainer.choose(trial.recipe.compiled)
    moved = {horizon: (plain - before[0]).norm() for horizon, (_, _, plain) in ends.items()}
    figures = train(trainer, process_age() + 2.0)
    return {
        "replayed_vs_eager": {h: float((a - b).norm() / moved[h]) for h, (a, b, _) in ends.items()},
        "compiled_vs_plain": {h: float((b - c).norm() / moved[h]) for h, (_, b, c) in ends.items()},
        "preparing": preparing,
        **figures,
        **evaluate(trainer, test, frames[:32]),
    }


def run_trial(trial: Trial, data: Path, device: torch.device) -> Iterator[dict[str, object]]:
    """Results of a trial, in this process."""
    if trial.kind == "ceilings":
        yield ceilings(device)
        return
    torch.manual_seed(trial.seed)
    stored = np.load(data / f"{trial.reduce}.npy", mmap_mode="r")
    frames = torch.from_numpy(stored[: min(trial.trajectories, len(stored) - TEST)].copy()).to(device)
    test = torch.from_numpy(stored[-TEST:].copy()).to(device)
    if trial.kind == "speed":
        yield from speed(trial.recipe, trial.measure, trial.profile, frames)
    elif trial.kind == "smoke":
        yield _smoke(trial, frames, test)
    elif trial.kind == "fill":  # the compiler's caches, for a trial that is compiled `behind`
        Trainer(replace(trial.recipe, compiled="step", graphs=False), frames).prepared(1)()
    else:
        helper = None
        if trial.recipe.compiled == "behind":
            arguments = list(sys.argv)
            arguments[arguments.index("--trial") + 1] = json.dumps(_flat(replace(trial, kind="fill")))
            helper = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
        trainer = Trainer(trial.recipe, frames)
        started = process_age()
        result = train(trainer, trial.seconds, lambda: helper is not None and helper.poll() is not None)
        if helper is not None and helper.poll() is None:
            helper.kill()
        scores = evaluate(trainer, test, frames[:TEST])
        parameters = sum(p.numel() for p in trainer.parameters)
        yield {**scores, "parameters": parameters, "started_s": round(started, 2), **result}


def _flat(trial: Trial) -> dict[str, Any]:
    record = asdict(trial)
    recipe = record.pop("recipe")
    shape = recipe.pop("shape")
    return {**record, **recipe, **shape}


def _report(out: Path, line: dict[str, object]) -> None:
    """Append and print one JSON line."""
    text = json.dumps(line, default=str)
    with (out / "results.jsonl").open("a") as file:
        file.write(text + "\n")
    print(text, flush=True)


def _child(arguments: argparse.Namespace) -> int:
    given = json.loads(arguments.trial)
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    try:
        for result in run_trial(trial_from(given), arguments.data, device):
            about = {"process_s": round(process_age(), 1), "device": name, "trial": given}
            _report(arguments.out, {"name": given["name"], **result, **about})
    except Exception:
        _report(arguments.out, {"name": given["name"], "error": traceback.format_exc()[-3000:], "trial": given})
        return 1
    return 0


def _run_plan(arguments: argparse.Namespace, trials: list[dict[str, Any]], ends: float) -> None:
    """Run the trials in order, one at a time on each GPU."""
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    for trial in trials:
        waiting.put(trial)
    scratch = Path(tempfile.mkdtemp(prefix="operator_trials_"))

    def work(gpu: int) -> None:
        while True:
            try:
                given = waiting.get_nowait()
            except queue.Empty:
                return
            trial, left = trial_from(given), ends - process_age()
            limit = trial.seconds + START_AND_END_S
            if left < (limit if trial.kind == "train" else min(limit, 20.0)):
                _report(arguments.out, {"name": trial.name, "skipped": f"{left:.0f} s left"})
                continue
            shared = Path(tempfile.gettempdir(), "operator_trials_cache", trial.cache)
            cache = shared if trial.cache else scratch / trial.name.replace(" ", "_")
            environment = dict(os.environ, TORCHINDUCTOR_CACHE_DIR=str(cache), TRITON_CACHE_DIR=str(cache / "triton"))
            if arguments.device == "cuda":
                visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
                environment["CUDA_VISIBLE_DEVICES"] = visible[gpu] if visible[0] else str(gpu)
            command = [sys.executable, __file__, "--trial", json.dumps(given), "--out", str(arguments.out)]
            command += ["--device", arguments.device, "--data", str(arguments.data)]
            try:
                code = subprocess.run(command, env=environment, timeout=min(limit + 10, max(left, 5.0))).returncode
                if code not in (0, 1):
                    _report(arguments.out, {"name": trial.name, "error": f"exit code {code}", "trial": given})
            except subprocess.TimeoutExpired:
                _report(arguments.out, {"name": trial.name, "error": "out of time", "trial": given})

    gpus = max(1, arguments.gpus)
    workers = 4 * gpus if arguments.plan == "smoke" and arguments.device == "cuda" else gpus
    threads = [threading.Thread(target=work, args=(n % gpus,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _prepare_data(arguments: argparse.Namespace) -> None:
    """Solve, unless an earlier plan on this machine did."""
    if (arguments.data / "average.npy").exists():
        return
    arguments.data.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    count = arguments.trajectories + TEST
    made = make_data(count, arguments.cells, arguments.points, 0, torch.device(arguments.device))
    seconds = round(time.perf_counter() - began, 2)
    for name, frames in made.items():
        means = frames.astype(np.float64).mean(2)
        drift, rms = np.abs(means - means[:, :1]).max(1), np.sqrt((frames**2).mean((1, 2)))
        _report(arguments.out, {"name": f"data {name}", "shape": frames.shape, "seconds": seconds, "finite": bool(
            np.isfinite(frames).all()), "mean_drift_mean": float((drift / rms).mean()),
            "mean_drift_worst": float((drift / rms).max())})  # fmt: skip
        np.save(arguments.data / f"{name}.npy", frames)


def main() -> int:
    """Run a plan, or, as a child, one trial of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", choices=PLANS, default="smoke")
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--budget", type=float, default=480.0)
    parser.add_argument("--only", default="", help="names of trials, with commas between")
    parser.add_argument("--skip", type=int, default=0, help="begin after so many trials of the plan")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--gpus", type=int, default=torch.cuda.device_count())
    parser.add_argument("--cells", type=int, default=1024)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--trajectories", type=int, default=1024)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--trial", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.trial:
        return _child(arguments)
    sizes = f"operator_trials_{arguments.trajectories}_{arguments.cells}_{arguments.points}"
    arguments.data = arguments.data or Path(tempfile.gettempdir(), sizes)
    changes = {key: json.loads(value) for key, value in (text.split("=", 1) for text in arguments.set)}
    trials = [{**trial, **changes} for trial in PLANS[arguments.plan][arguments.skip :]]
    if arguments.only:
        trials = [trial for trial in trials if trial["name"] in arguments.only.split(",")]
    if arguments.list:
        print("\n".join(json.dumps(trial) for trial in trials))
        return 0
    _prepare_data(arguments)
    _run_plan(arguments, trials, arguments.budget)
    return 0


if __name__ == "__main__":
    sys.exit(main())
