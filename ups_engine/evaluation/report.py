"""`reports/evaluation.json`: its model, its file, and its table for the terminal."""

import json
import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from ups_engine.errors import RunError
from ups_engine.formats import require_known
from ups_engine.runs import atomic

if TYPE_CHECKING:  # metrics needs torch; whoever only reads a report does not
    from ups_engine.evaluation.metrics import Scores

DEFINITION = "per-frame nRMSE, mean over trajectory, channel, frame"
FORMAT = 1
"""Version of the file."""

Number: TypeAlias = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A figure; null in JSON stands for one that is not finite and is read back as nan."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EvaluationProtocol(_Part):
    """What was evaluated and how."""

    split: str
    trajectories: int
    frames: int
    initial_steps: int
    resolution: tuple[int, ...]
    definition: str = DEFINITION


class Relative(_Part):
    """An nRMSE alone: of a reconstruction, or of single steps."""

    nrmse: Number


class FrequencyBands(_Part):
    """fRMSE by wave numbers 0-3, 4-11, 12 and above, in the field's unit; nan where the grid has no such waves."""

    low: Number
    mid: Number
    high: Number


class Rollout(_Part):
    """Scores of whole predicted trajectories."""

    nrmse: Number
    crmse: Number
    brmse: Number
    frmse: FrequencyBands
    nrmse_by_frame: tuple[Number, ...]

    @classmethod
    def of(cls, scores: "Scores") -> Self:
        """Take the figures of an accumulator."""
        bands = FrequencyBands(low=scores.frmse.low, mid=scores.frmse.mid, high=scores.frmse.high)
        return cls(
            nrmse=scores.nrmse,
            crmse=scores.crmse,
            brmse=scores.brmse,
            frmse=bands,
            nrmse_by_frame=scores.nrmse_by_frame,
        )


class Variant(_Part):
    """One way to predict, from doing nothing to the corrected operator."""

    one_step: Relative
    rollout: Rollout
    evaluations_per_step: int
    """Network evaluations per predicted frame; 0 for persistence."""
    milliseconds_per_step: Number
    """Time of one predicted frame of one batch, in milliseconds."""


class SteadyPriorScores(_Part):
    """The steady prior's nRMSE beside that of taking the input for the answer."""

    nrmse: Number
    persistence: Relative


class EvaluationReport(_Part):
    """All that an evaluation found, in physical units. Variants that were not trained are absent.

    Of a collection of several members, the figures without a unit are means over them, and those with one are nan.
    """

    protocol: EvaluationProtocol
    reconstruction: Relative
    variants: dict[str, Variant]
    """By name, the simpler ones first."""
    selected: str
    steady_prior: SteadyPriorScores | None = None
    members: dict[str, "EvaluationReport"] = {}
    """The same of each member of a collection of several."""
    left_out: dict[str, str] = {}
    """Why, by name, of variants that were not scored."""
    results: dict[str, str] = {}
    """Hashes, by name, of the results that were scored."""

    @model_validator(mode="after")
    def _selected_was_evaluated(self) -> Self:
        if self.selected not in self.variants:
            raise ValueError(f"selected is {self.selected}, which is not among the variants {list(self.variants)}")
        return self

    def to_json(self) -> dict[str, object]:
        """Give the report as the object that `reports/evaluation.json` holds; figures may still be nan in it."""
        absent = {key for key in ("steady_prior", "members", "left_out", "results") if not getattr(self, key)}
        return {"format": FORMAT, **self.model_dump(mode="json", exclude=absent)}

    @classmethod
    def from_json(cls, value: object, where: str = "the report") -> Self:
        """Read what `to_json` gave, nulls included.

        Raises:
            ValueError: a key is missing, unknown, or of the wrong type.
            FormatError: a newer UPS wrote it.
        """
        if isinstance(value, dict):
            value = dict(value)
            require_known("evaluation report", value.pop("format", None), FORMAT, where)
        return cls.model_validate(value)

    def write(self, path: Path) -> None:
        """Write the file atomically and durably, as strict JSON: figures that are not finite become null.

        Raises:
            RunError: the disk is full or refuses the write.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote.

        Raises:
            RunError: the file is missing or is no evaluation report.
        """
        try:
            return cls.from_json(json.loads(path.read_bytes()), str(path))
        except FileNotFoundError:
            raise RunError(f"there is no evaluation at {path}", "`ups evaluate RUN` makes one") from None
        except (OSError, ValueError) as error:  # json's and pydantic's errors are ValueErrors
            reason = str(error).splitlines()[0]
            raise RunError(f"{path} is no evaluation report: {reason}", "`ups evaluate RUN` writes it anew") from error


def definition(zero_targets: int = 0) -> str:
    """Say what nRMSE means here, and how many (trajectory, frame, channel) entries it had to leave out."""
    left_out = f"; {zero_targets} entries whose target is zero everywhere left out" if zero_targets else ""
    return DEFINITION + left_out


def render(report: EvaluationReport, unit: str | None = None) -> str:
    """Lay the report out for a terminal of 80 columns, without colour.

    Args:
        report: the evaluation.
        unit: the field's unit where it is known; it is that of cRMSE, bRMSE and fRMSE.

    Returns:
        Lines of text with the protocol, two tables, the definitions and the units.
    """
    protocol, steady = report.protocol, report.steady_prior
    grid = " x ".join(map(str, protocol.resolution))
    lines = [
        f"{protocol.split} split: {protocol.trajectories} trajectories of {protocol.frames} frames on {grid} points,"
        f" {protocol.initial_steps} given",
        "",
        "nRMSE (no unit), in physical space",
        *_aligned(_relative_rows(report)),
        "",
        f"Rollout errors in {unit or 'the units of the field'}",
        *_aligned(_absolute_rows(report)),
        "",
        f"reconstruction (decoded encoding): nRMSE {_figure(report.reconstruction.nrmse)}",
    ]
    if steady is not None:
        lines.append(f"steady prior: nRMSE {_figure(steady.nrmse)}, persistence {_figure(steady.persistence.nrmse)}")
    for name, reason in report.left_out.items():
        lines += textwrap.wrap(f"left out: {name}, {reason}", 79, subsequent_indent="  ", break_on_hyphens=False)
    lines += ["* selected on the validation split", *textwrap.wrap(f"nRMSE: {protocol.definition}.", 79), *_NOTES]
    return "\n".join(lines)


def _relative_rows(report: EvaluationReport) -> list[list[str]]:
    rows = [["variant", "one step", "rollout", "vs persistence", "evaluations", "ms per step"]]
    persistence = report.variants.get("persistence")
    for label, variant in _labelled(report):
        share = math.nan if persistence is None else _ratio(variant.rollout.nrmse, persistence.rollout.nrmse)
        errors = map(_figure, (variant.one_step.nrmse, variant.rollout.nrmse, share))
        rows.append([label, *errors, str(variant.evaluations_per_step), _figure(variant.milliseconds_per_step)])
    return rows


def _absolute_rows(report: EvaluationReport) -> list[list[str]]:
    rows = [["variant", "cRMSE", "bRMSE", "fRMSE low", "mid", "high"]]
    for label, variant in _labelled(report):
        rollout, bands = variant.rollout, variant.rollout.frmse
        rows.append([label, *map(_figure, (rollout.crmse, rollout.brmse, bands.low, bands.mid, bands.high))])
    return rows


def _labelled(report: EvaluationReport) -> list[tuple[str, Variant]]:
    marks = {report.selected: " *"}
    return [(name + marks.get(name, ""), variant) for name, variant in report.variants.items()]


_NOTES = (
    "cRMSE: error of the spatial mean. bRMSE: edge cells only.",
    "fRMSE: spectrum of the error, |k| 0-3 (low), 4-11 (mid), 12 and above (high).",
)


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
