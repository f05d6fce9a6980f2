"""Stage `evaluation`: every trained variant in physical units, over whole rollouts, beside persistence.

The variant to use is selected on the validation split, by the rollout nRMSE under the same protocol; the figures
reported are those of the evaluated split.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import torch

from ups_engine.data.splits import SplitName
from ups_engine.discretisation.grid import RegularGrid
from ups_engine.errors import SettingsError, TrainingError
from ups_engine.evaluation.examples import MOST_TRAJECTORIES, Examples, examples_path, kept_frames, space_stride
from ups_engine.evaluation.report import (
    EvaluationReport,
    Protocol,
    Relative,
    Rollout,
    SteadyPriorScores,
    Variant,
    VariantName,
    definition,
)
from ups_engine.evaluation.rollout import Protocol as Trajectories
from ups_engine.evaluation.rollout import (
    Trial,
    reconstruction,
    roll_out,
    spread,
    true_batches,
    try_persistence,
    try_surrogate,
)
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.runs.checkpoints import has_result
from ups_engine.stages.context import StageContext
from ups_engine.stages.steady_prior import steady_errors

NEEDS = ("encoder", "decoder", "operator_ema")
SELECTED_BY = 64
"""Validation trajectories that the variant is selected on, at most."""
CORRECTORS: Mapping[VariantName, str] = {
    "diffusion": "diffusion_residual_ema",
    "consistency": "consistency_ema",
}


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found, in figures and to look at."""

    report: EvaluationReport
    examples: Examples

    def write(self, path: Path) -> None:
        """Write the report, and the examples beside it; the report last, so that where one is there are examples.

        Raises:
            RunError: the disk is full or refuses the write.
        """
        self.examples.write(examples_path(path))
        self.report.write(path)


def evaluate(context: StageContext, *, split: SplitName, initial_steps: int) -> Evaluation:
    """Evaluate a run's results.

    Args:
        context: of the run; its results need not all be there.
        split: trajectories to report on.
        initial_steps: frames given.

    Raises:
        SettingsError: the protocol leaves nothing to predict.
        TrainingError: the operator's own predictions are not finite.
        CheckpointError: encoder, decoder or operator is missing, or a result is damaged.
    """
    dataset, device, between = context.dataset, context.device, context.between
    batch_size = context.settings.stages.evaluation.batch_size
    require_frames(dataset.frames, initial_steps)
    reported = Trajectories(dataset.splits.of(split), initial_steps, batch_size)
    selecting = Trajectories(spread(dataset.splits.val, SELECTED_BY), initial_steps, batch_size)
    surrogates = _surrogates(context)
    trials: dict[VariantName, Trial] = {"persistence": try_persistence(dataset, reported, device)}
    validation: dict[VariantName, float] = {"persistence": try_persistence(dataset, selecting, device).rollout.nrmse}
    for number, (name, surrogate) in enumerate(surrogates.items()):
        context.progress(f"evaluating {name}", number, len(surrogates))
        noise = context.noise(f"rollout/{split}")
        trials[name] = try_surrogate(surrogate, dataset, reported, device, noise, between)
        same = split == "val" and np.array_equal(selecting.rows, reported.rows)
        trial = trials[name] if same else try_surrogate(surrogate, dataset, selecting, device, noise, between)
        validation[name] = trial.rollout.nrmse
    _require_finite(trials["operator"])
    selected = select(validation)
    shown = Trajectories(spread(reported.rows, MOST_TRAJECTORIES), initial_steps, batch_size=MOST_TRAJECTORIES)
    between()
    report = EvaluationReport(
        protocol=Protocol(
            split=split,
            trajectories=len(reported.rows),
            frames=dataset.frames,
            initial_steps=initial_steps,
            resolution=dataset.discretisation.shape,
            definition=definition(trials["persistence"].rollout.zero_targets),
        ),
        reconstruction=Relative(nrmse=reconstruction(surrogates["operator"], dataset, reported, device).nrmse),
        variants={name: _variant(trial, surrogates.get(name)) for name, trial in trials.items()},
        selected=selected,
        steady_prior=_steady(context, split),
    )
    return Evaluation(report, _examples(context, split, shown, selected, surrogates.get(selected)))


def require_frames(frames: int, initial_steps: int) -> None:
    """Make sure that a protocol leaves frames to predict.

    Raises:
        SettingsError: it does not.
    """
    if initial_steps >= frames:
        raise SettingsError(
            f"{initial_steps} given frames leave none of {frames} to predict",
            "lower stages.evaluation.initial_steps (--initial-steps)",
        )


def select(validation: Mapping[VariantName, float]) -> VariantName:
    """The variant of the lowest finite validation error; the simpler one where two agree."""
    finite = {name: error for name, error in validation.items() if isfinite(error)}
    return min(finite, key=lambda name: finite[name])


def _surrogates(context: StageContext) -> dict[VariantName, Surrogate]:
    found: dict[VariantName, Surrogate] = {"operator": context.surrogate()}
    for name, result in CORRECTORS.items():
        if has_result(context.run, result):
            found[name] = context.surrogate(result)
    return found


def _require_finite(trial: Trial) -> None:
    if not isfinite(trial.one_step.nrmse):
        raise TrainingError(
            "the operator's single-step predictions are not finite",
            "train the operator again with a lower learning rate",
        )


def _variant(trial: Trial, surrogate: Surrogate | None) -> Variant:
    return Variant(
        one_step=Relative(nrmse=trial.one_step.nrmse),
        rollout=Rollout.of(trial.rollout),
        evaluations_per_step=0 if surrogate is None else surrogate.evaluations_per_step,
        milliseconds_per_step=trial.milliseconds_per_step,
    )


@torch.no_grad()
def _examples(
    context: StageContext, split: SplitName, shown: Trajectories, variant: VariantName, surrogate: Surrogate | None
) -> Examples:
    """Predict a few trajectories once more, with the noise that they were scored with."""
    dataset, given = context.dataset, shown.initial_steps
    [batch] = true_batches(dataset, shown, context.device)
    prediction = batch.fields.clone()
    if surrogate is None:
        prediction[:, given:] = prediction[:, given - 1 : given]
    else:
        prediction[:, given:] = roll_out(surrogate, dataset, batch, given, context.noise(f"rollout/{split}"))
    frames, grid = kept_frames(dataset.frames), dataset.discretisation
    assert isinstance(grid, RegularGrid)
    stride = space_stride(len(shown.rows), len(frames), grid.shape, dataset.channels)
    part = (slice(None), slice(None), *(slice(None, None, stride) for _ in grid.shape))
    start = float(dataset.source.info.time[0])
    return Examples(
        truth=np.ascontiguousarray(batch.fields[:, frames].cpu().numpy()[part]),
        prediction=np.ascontiguousarray(prediction[:, frames].cpu().numpy()[part]),
        frames=frames,
        time=start + dataset.dt * frames.astype(np.float64),
        coordinates=tuple(positions[::stride] for positions in grid.coordinates),
        trajectories=shown.rows,
        fields=tuple(
            spec.name if spec.channels == 1 else f"{spec.name}[{channel}]"
            for spec in dataset.specs
            for channel in range(spec.channels)
        ),
        units=tuple(spec.unit or "" for spec in dataset.specs for _ in range(spec.channels)),
        given=given,
        variant=variant,
        split=split,
    )


def _steady(context: StageContext, split: SplitName) -> SteadyPriorScores | None:
    if not has_result(context.run, "steady_prior"):
        return None
    prior = context.frozen("steady_prior", LatentOperator)
    encoder, decoder = context.frozen("encoder", GridEncoder), context.frozen("decoder", GridDecoder)
    error, persistence = steady_errors(prior, encoder, decoder, context.dataset, split)
    return SteadyPriorScores(nrmse=error, persistence=Relative(nrmse=persistence))
