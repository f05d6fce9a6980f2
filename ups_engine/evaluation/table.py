"""An evaluation report as text for a terminal of 80 columns, without colour."""

import math
import textwrap
from collections.abc import Mapping

from ups_engine.evaluation.report import PERSISTENCE, Errors, EvaluationReport, FieldErrors, Variant

_WIDTH = 79
WELL_BELOW = 0.3
"""A reconstruction whose error is more than so much of a single step's limits the operator."""
_NOTES = (
    "RMSE/std: over the standard deviation of the training data; an offset does not flatter it.",
    "cRMSE: error of the spatial mean. bRMSE: edge cells only.",
    "fRMSE: spectrum of the error, |k| 0-3 (low), 4-11 (mid), 12 and above (high).",
)


def render(report: EvaluationReport) -> str:
    """Lay a report out: protocol, a table without units, one for each field in its unit, warnings, definitions.

    Of a collection the members' tables follow.
    """
    protocol = report.protocol
    grid = f" on {' x '.join(map(str, protocol.resolution))} points" if protocol.resolution else ""
    lines = [
        f"{protocol.split} split: {protocol.trajectories} trajectories of {protocol.frames} frames{grid},"
        f" {protocol.initial_steps} given",
        "",
        *_overall(report),
        *_by_field(report),
        *(
            line
            for name, reason in report.left_out.items()
            for line in textwrap.wrap(f"left out: {name}, {reason}", _WIDTH, break_on_hyphens=False)
        ),
        *(line for warning in warnings(report) for line in textwrap.wrap(f"warning: {warning}", _WIDTH)),
    ]
    for name, member in report.members.items():
        lines += ["", name, *_overall(member), *_by_field(member)]
    notes = ("* selected on the validation split", f"nRMSE: {protocol.definition}.", *_NOTES)
    return "\n".join([*lines, *(line for note in notes for line in textwrap.wrap(note, _WIDTH))])


def warnings(report: EvaluationReport) -> list[str]:
    """What to know about variants that predict no better than that nothing changes, and about a latent that loses."""
    found = []
    if report.selected == PERSISTENCE:
        found.append("on the validation split nothing that was trained predicts better than persistence")
    for name, fields in report.no_better_than_persistence().items():
        variant = report.variants[name]
        everything = not report.members and len(fields) == len(variant.rollout.fields)
        where = "" if everything else f" in {', '.join(fields)}"
        selected = ", which is selected," if name == report.selected else ""
        found.append(f"{name}{selected} is not trained: no more than 2 % better than persistence{where}")
    lost, step = report.reconstruction.rmse_over_std, report.variants[report.selected].one_step.rmse_over_std
    if lost > WELL_BELOW * step:
        found.append(
            f"encoding and decoding alone lose {lost:.2g} of a standard deviation, a single step {step:.2g}: the latent"
            " holds the operator back; raise latent.dim, or lower data.patch_size"
        )
    return found


def _overall(report: EvaluationReport) -> list[str]:
    """The figures that have no unit."""
    several = any(variant.rollout.worst for variant in report.variants.values())
    rows = [["variant", "one step", "rollout", "vs pers.", "RMSE/std", "evals", "ms/step", *(["worst"] * several)]]
    still = report.variants.get(PERSISTENCE)
    for label, variant in _labelled(report.variants, report.selected):
        rollout = variant.rollout
        share = math.nan if still is None else _ratio(rollout.nrmse, still.rollout.nrmse)
        row = [label, *map(_figure, (variant.one_step.nrmse, rollout.nrmse, share, rollout.rmse_over_std))]
        row += [str(variant.evaluations_per_step), _figure(variant.milliseconds_per_step)]
        rows.append([*row, *([rollout.worst or "-"] * several)])
    lines = ["nRMSE (no unit), in physical space", *_aligned(rows)]
    lines += [f"reconstruction (decoded encoding): {_two(report.reconstruction)}"]
    if steady := report.steady_prior:
        lines += [f"steady prior: {_two(steady)}; persistence: {_two(steady.persistence)}"]
    return [*lines, ""]


def _by_field(report: EvaluationReport) -> list[str]:
    """A table of rollout errors for each field, in its unit."""
    lines = []
    for name, sample in report.variants[report.selected].rollout.fields.items():
        several = len(report.variants[report.selected].rollout.fields) > 1
        unit = sample.unit or "the unit of the data"
        rows = [["variant", *(["nRMSE", "RMSE/std"] * several), "RMSE", "cRMSE", "bRMSE", "fRMSE low", "mid", "high"]]
        for label, variant in _labelled(report.variants, report.selected):
            rows.append([label, *map(_figure, _figures(variant.rollout.fields[name], several=several))])
        worst = "; the worst field" if name == report.variants[report.selected].rollout.worst else ""
        lines += [f"Rollout errors of {name} in {unit}{worst}", *_aligned(rows), ""]
    return lines


def _figures(errors: FieldErrors, *, several: bool) -> tuple[float, ...]:
    bands = errors.frmse
    relative = (errors.nrmse, errors.rmse_over_std) if several else ()
    return (*relative, errors.rmse, errors.crmse, errors.brmse, bands.low, bands.mid, bands.high)


def _labelled(variants: Mapping[str, Variant], selected: str) -> list[tuple[str, Variant]]:
    return [(name + (" *" if name == selected else ""), variant) for name, variant in variants.items()]


def _two(errors: Errors) -> str:
    worst = f" (worst: {errors.worst})" if errors.worst else ""
    return f"nRMSE {_figure(errors.nrmse)}, RMSE/std {_figure(errors.rmse_over_std)}{worst}"


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference > 0 else math.nan


def _figure(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _aligned(rows: list[list[str]]) -> list[str]:
    """First column to the left, the others to the right, two blanks between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
