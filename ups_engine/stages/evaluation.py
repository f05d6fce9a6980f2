"""Stage `evaluation`: every trained variant in physical units, over whole rollouts, beside persistence.

The variant to use is selected on the validation split, by the relative error of rollouts under the same protocol; the
figures reported are those of the evaluated split. Every member of the collection is scored by itself, then all
together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import torch

from ups_engine.data.member import Member
from ups_engine.data.splits import SplitName
from ups_engine.errors import SettingsError, TrainingError
from ups_engine.evaluation.examples import MOST_TRAJECTORIES, Examples, examples_path, kept_frames, kept_points
from ups_engine.evaluation.report import (
    PERSISTENCE,
    Errors,
    EvaluationProtocol,
    EvaluationReport,
    SteadyPriorScores,
    definition,
)
from ups_engine.evaluation.report import Variant as VariantScores
from ups_engine.evaluation.rollout import (
    Rollouts,
    Trial,
    reconstruction,
    roll_out,
    spread,
    true_batches,
    try_persistence,
    try_surrogate,
)
from ups_engine.models.surrogate import Surrogate
from ups_engine.runs.directory import RunDirectory
from ups_engine.stages.base import Stage
from ups_engine.stages.context import StageContext
from ups_engine.stages.scored import NEEDED, Scored
from ups_engine.stages.steady_prior import steady_scores
from ups_engine.stages.variant import Variant

SELECTED_BY = 64
"""Validation trajectories of a member that the variant is selected on, at most."""

STAGE = Stage(name="evaluation", needs=NEEDED)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found, in figures and, by member, to look at."""

    report: EvaluationReport
    examples: Mapping[str, Examples]

    def write(self, run: RunDirectory, path: Path) -> None:
        """Write the report, and the examples beside it; the report last, so that where one is there are examples.

        Args:
            run: that vouches for the files.
            path: of the report, in the run.

        Raises:
            RunError: the disk is full or refuses the write.
        """
        written = [path]
        for name, examples in self.examples.items():
            written.append(examples_path(path, None if len(self.examples) == 1 else name))
            examples.write(written[-1])
        self.report.write(path)
        run.vouch(*written)


@dataclass(frozen=True)
class _Tried:
    """A member with its trials on the evaluated split and its rollout errors on the validation split, by variant."""

    member: Member
    reported: Rollouts
    trials: Mapping[str, Trial]
    validation: Mapping[str, float]


def evaluate(context: StageContext, variants: Sequence[Variant], *, split: SplitName, initial_steps: int) -> Evaluation:
    """Evaluate a run's results.

    Args:
        context: of the run; its results need not all be there.
        variants: to be scored as far as they were trained.
        split: trajectories to report on.
        initial_steps: frames given.

    Raises:
        SettingsError: the protocol leaves nothing to predict.
        TrainingError: the operator's own predictions are not finite.
        CheckpointError: encoder, decoder or operator is missing, or a result is damaged.
        DataError: a file cannot be read, or was changed since the collection was opened.
    """
    for member in context.collection.members:
        require_frames(member.frames, initial_steps)
    scored = Scored.of(context, variants)
    surrogates = scored.surrogates
    tried = [_try(context, member, surrogates, split, initial_steps) for member in context.collection.members]
    validation = {name: float(np.mean([one.validation[name] for one in tried])) for name in tried[0].validation}
    selected = select(validation)
    context.host.between()
    reports = {one.member.name: _report(context, one, scored, split, selected) for one in tried}
    examples = {one.member.name: _examples(context, one, surrogates, split, selected) for one in tried}
    for member in context.collection.members:
        member.require_unchanged()
    whole = together(reports).model_copy(update={"left_out": scored.left_out, "results": scored.hashes})
    return Evaluation(whole, examples)


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


def select(validation: Mapping[str, float]) -> str:
    """The variant of the lowest finite validation error; the simpler one where two agree."""
    finite = {name: error for name, error in validation.items() if isfinite(error)}
    return min(finite, key=lambda name: finite[name])


def together(reports: Mapping[str, EvaluationReport]) -> EvaluationReport:
    """The report of a collection: a sole member's own, or what may be averaged of several."""
    first, *others = reports.values()
    if not others:
        return first
    priors = [report.steady_prior for report in reports.values()]
    return EvaluationReport(
        protocol=first.protocol.model_copy(
            update={
                "trajectories": sum(report.protocol.trajectories for report in reports.values()),
                "frames": max(report.protocol.frames for report in reports.values()),
                "resolution": (),
            }
        ),
        reconstruction=_means([report.reconstruction for report in reports.values()]),
        variants={name: _averaged([report.variants[name] for report in reports.values()]) for name in first.variants},
        selected=first.selected,
        steady_prior=SteadyPriorScores(
            **vars(_means([prior for prior in priors if prior is not None])),
            persistence=_means([prior.persistence for prior in priors if prior is not None]),
        )
        if None not in priors
        else None,
        members=dict(reports),
    )


def _averaged(scores: Sequence[VariantScores]) -> VariantScores:
    return scores[0].model_copy(
        update={
            "one_step": _means([one.one_step for one in scores]),
            "rollout": _means([one.rollout for one in scores]),
            "milliseconds_per_step": float(np.mean([one.milliseconds_per_step for one in scores])),
        }
    )


def _means(of: Sequence[Errors]) -> Errors:
    """What may be averaged over members: figures without a unit."""
    return Errors(
        nrmse=float(np.mean([errors.nrmse for errors in of])),
        rmse_over_std=float(np.mean([errors.rmse_over_std for errors in of])),
        nrmse_by_frame=(),
        fields={},
    )


def _try(
    context: StageContext, member: Member, surrogates: Mapping[str, Surrogate], split: SplitName, initial_steps: int
) -> _Tried:
    device, between = context.device, context.host.between
    batch_size = context.settings.stages.evaluation.batch_size
    reported = Rollouts(member.splits.of(split), initial_steps, batch_size)
    selecting = Rollouts(spread(member.splits.val, SELECTED_BY), initial_steps, batch_size)
    trials = {PERSISTENCE: try_persistence(member, reported, device)}
    validation = {PERSISTENCE: try_persistence(member, selecting, device).rollout.relative}
    for number, (name, surrogate) in enumerate(surrogates.items()):
        context.host.advance(f"evaluating {name}", number, len(surrogates))
        noise = context.noise(f"rollout/{split}")
        trials[name] = try_surrogate(surrogate, member, reported, device, noise, between)
        same = split == "val" and np.array_equal(selecting.rows, reported.rows)
        trial = trials[name] if same else try_surrogate(surrogate, member, selecting, device, noise, between)
        validation[name] = trial.rollout.relative
    if not isfinite(trials["operator"].one_step.nrmse):
        raise TrainingError(
            "the operator's single-step predictions are not finite",
            "train the operator again with a lower learning rate",
        )
    return _Tried(member, reported, trials, validation)


def _report(context: StageContext, tried: _Tried, scored: Scored, split: SplitName, selected: str) -> EvaluationReport:
    member, trials, surrogates = tried.member, tried.trials, scored.surrogates
    reconstructed = reconstruction(surrogates["operator"], member, tried.reported, context.device)
    channels = member.channel_units
    return EvaluationReport(
        protocol=EvaluationProtocol(
            split=split,
            trajectories=len(tried.reported.rows),
            frames=member.frames,
            initial_steps=tried.reported.initial_steps,
            resolution=member.discretisation.shape,
            definition=definition(trials[PERSISTENCE].rollout.zero_targets),
        ),
        reconstruction=Errors.of(reconstructed, channels),
        variants={
            name: VariantScores(
                one_step=Errors.of(trial.one_step, channels),
                rollout=Errors.of(trial.rollout, channels),
                evaluations_per_step=0 if name == PERSISTENCE else surrogates[name].evaluations_per_step,
                milliseconds_per_step=trial.milliseconds_per_step,
            )
            for name, trial in trials.items()
        },
        selected=selected,
        steady_prior=_steady(scored, member, split),
    )


@torch.no_grad()
def _examples(
    context: StageContext, tried: _Tried, surrogates: Mapping[str, Surrogate], split: SplitName, selected: str
) -> Examples:
    """Predict a few trajectories once more, with the noise that they were scored with."""
    member, given, surrogate = tried.member, tried.reported.initial_steps, surrogates.get(selected)
    shown = Rollouts(spread(tried.reported.rows, MOST_TRAJECTORIES), given, batch_size=MOST_TRAJECTORIES)
    [batch] = true_batches(member, shown, context.device)
    prediction = batch.fields.to(torch.float64, copy=True)
    if surrogate is None:
        prediction[:, given:] = prediction[:, given - 1 : given]
    else:
        prediction[:, given:] = roll_out(surrogate, member, batch, given, context.noise(f"rollout/{split}"))
    frames = kept_frames(member.frames)
    points, coordinates = member.discretisation.thinned(kept_points(len(shown.rows), len(frames), member.channels))
    part = (slice(None), slice(None), *points)
    start = float(member.info.time[0])
    return Examples(
        truth=np.ascontiguousarray(batch.fields[:, frames].cpu().numpy()[part]),
        prediction=np.ascontiguousarray(prediction[:, frames].to(batch.fields.dtype).cpu().numpy()[part]),
        frames=frames,
        time=start + member.dt * frames.astype(np.float64),
        coordinates=coordinates,
        trajectories=shown.rows,
        fields=tuple(name for name, _ in member.channel_units),
        units=tuple(unit or "" for _, unit in member.channel_units),
        given=given,
        variant=selected,
        split=split,
    )


def _steady(scored: Scored, member: Member, split: SplitName) -> SteadyPriorScores | None:
    if scored.prior is None:
        return None
    codec = scored.surrogates["operator"]
    predicted, still = steady_scores(scored.prior, codec.encoder, codec.decoder, member, split)
    errors = Errors.of(predicted, member.channel_units)
    return SteadyPriorScores(**vars(errors), persistence=Errors.of(still, member.channel_units))
