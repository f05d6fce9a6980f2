"""Going back to what a run left: evaluating it again, and finding the encoder that the latent caches belong to."""

from contextlib import suppress
from pathlib import Path

from ups_engine.config.anchor import anchored
from ups_engine.config.schema import Settings
from ups_engine.data.prepare import prepare_data
from ups_engine.data.splits import SplitName
from ups_engine.errors import CheckpointError, UpsError
from ups_engine.evaluation.report import EvaluationReport
from ups_engine.evaluation.soundness import EVALUATION_FILE
from ups_engine.latents.fingerprint import hash_tensors
from ups_engine.latents.target import CacheContext
from ups_engine.pipeline.data_record import enter_data
from ups_engine.pipeline.forecast import Forecast
from ups_engine.pipeline.run import run_settings
from ups_engine.reporting import Tell
from ups_engine.runs.checkpoints import load_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.sidecars import has_result
from ups_engine.stages.context import StageContext
from ups_engine.stages.evaluation import evaluate
from ups_engine.stages.networks import dependencies
from ups_engine.stages.registry import VARIANTS
from ups_engine.training.machine import pick_device, set_precision


def open_context(
    run: RunDirectory, settings: Settings | None = None, tell: Tell = lambda sentence: None
) -> StageContext:
    """A run's results on their data, ready to use.

    Args:
        run: that has looked at its data.
        settings: that go with the run's results; None means the run's own.
        tell: told in a sentence what there is to know of the data.

    Raises:
        CheckpointError: the run has not got as far as its data.
        DataError: the data is gone or has changed.
    """
    settings = settings or run_settings(run)
    record = run.data_record()
    if record is None:
        raise CheckpointError(f"run {run.name} has not looked at its data yet", "let it train first")
    device = pick_device(settings.runtime)
    set_precision(settings.training, device)
    collection = prepare_data(settings, record, tell)
    working = Forecast(settings, collection.members).working_bytes(device)
    return StageContext(settings, run, collection, device, working=working)


def evaluate_run(
    run: RunDirectory,
    *,
    split: SplitName | None = None,
    initial_steps: int | None = None,
    tell: Tell = lambda sentence: None,
) -> tuple[EvaluationReport, Path]:
    """Evaluate a run's results, as its evaluation stage does or under another protocol.

    Args:
        run: with encoder, decoder and operator.
        split: None means `stages.evaluation.split`.
        initial_steps: frames given; None means `stages.evaluation.initial_steps`.
        tell: told in a sentence what there is to know of the data.

    Returns:
        The report, and its file under `reports/`: `evaluation.json` for the run's own protocol, else
        `evaluation-<split>-<initial steps>.json`. Beside it are the examples, `fields.npz` or
        `fields-<split>-<initial steps>.npz`.

    Raises:
        UpsError: results or data are missing, damaged, or not those of the run.
    """
    context = open_context(run, tell=tell)
    enter_data(run, context.collection)
    own = context.settings.stages.evaluation
    split, initial_steps = split or own.split, initial_steps or own.initial_steps
    found = evaluate(context, VARIANTS, split=split, initial_steps=initial_steps)
    ours = (split, initial_steps) == (own.split, own.initial_steps)
    path = run.reports / (EVALUATION_FILE if ours else f"evaluation-{split}-{initial_steps}.json")
    found.write(run, path)
    return found.report, path


def cache_context(settings: Settings, reference: str | None) -> CacheContext:
    """The caches of a run, or those that training with the current settings would use.

    Args:
        settings: current ones; with a run only `runs.root` counts.
        reference: a run's name or folder; None takes the newest run whose encoder fits the settings.

    Raises:
        RunError: there is no such run.
        CheckpointError: no encoder fits.
    """
    root = Path(settings.runs.root)
    if reference is not None:
        run, chosen = RunDirectory.find(reference, root), None
    else:
        run, chosen = _newest_fitting(settings, root), settings
    context = open_context(run, chosen)
    return CacheContext(
        targets=context.caches.targets(),
        note=f"caches of the encoder of run {run.name} ({run.path})",
        device=str(context.device),
        residency=context.settings.latent.residency,
        working_bytes=context.working,
    )


def wanted_caches(root: Path) -> tuple[set[str], set[str], int]:
    """The caches that belong to the present encoder of any run.

    Args:
        root: the folder of runs.

    Returns:
        The digests of the caches that the runs would read; the hashes of the weights of runs whose data are gone or
        damaged, so that nothing more is known; and how many runs have an encoder.
    """
    fingerprints: set[str] = set()
    encoders: set[str] = set()
    runs = [run for run in RunDirectory.list_runs(root) if has_result(run, "encoder")]
    for run in runs:
        try:
            settings = run_settings(run)
            runtime = settings.runtime.model_copy(update={"device": "cpu"})  # looking must not take GPU memory
            targets = open_context(run, settings.model_copy(update={"runtime": runtime})).caches.targets()
            fingerprints |= {target.fingerprint.digest for target in targets}
        except UpsError:
            with suppress(UpsError):
                encoders.add(hash_tensors(load_result(run, "encoder")[0]))
    return fingerprints, encoders, len(runs)


def _newest_fitting(settings: Settings, root: Path) -> RunDirectory:
    wanted, current = dependencies(settings, "encoder"), anchored(settings, Path.cwd())
    for run in RunDirectory.list_runs(root):
        with suppress(UpsError):  # a damaged run is no candidate
            own = run_settings(run)
            same = has_result(run, "encoder") and (own.data, own.seed) == (current.data, current.seed)
            if same and load_result(run, "encoder")[1].get("settings") == wanted:
                return run
    raise CheckpointError(
        f"no run under {root} has an encoder that fits the current settings, so there is no cache to look at",
        "train one with `ups train --headless --stage autoencoder`, or name a run",
    )
