"""`reports/evaluation.json`: its model and its file."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from ups_engine.errors import RunError
from ups_engine.formats import require_known
from ups_engine.runs import atomic

if TYPE_CHECKING:  # metrics needs torch; whoever only reads a report does not
    from ups_engine.evaluation.metrics import Scores

PERSISTENCE = "persistence"
"""The variant that the others are measured by."""
LEARNED_BELOW = 0.98
"""A variant whose error is not below so much of persistence's has learned nothing to speak of."""
DEFINITION = "per-frame nRMSE, mean over trajectory, channel, frame"
FORMAT = 2
"""Version of the file. Version 1 had no fields."""

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


class FrequencyBands(_Part):
    """fRMSE by wave numbers 0-3, 4-11, 12 and above, in the field's unit; nan where the grid has no such waves."""

    low: Number
    mid: Number
    high: Number


class FieldErrors(_Part):
    """The errors of one channel of a field."""

    unit: str | None
    """Of rmse, crmse, brmse and frmse; None where the data do not say it."""
    nrmse: Number
    rmse: Number
    rmse_over_std: Number
    """RMSE over the standard deviation of the training trajectories, without unit."""
    crmse: Number
    brmse: Number
    frmse: FrequencyBands
    nrmse_by_frame: tuple[Number, ...]


class Errors(_Part):
    """The errors of a prediction: without unit over all fields, and of each field by itself."""

    nrmse: Number
    rmse_over_std: Number
    nrmse_by_frame: tuple[Number, ...]
    fields: dict[str, FieldErrors]
    """By the field's name, `name[channel]` where it has several; empty over several members."""

    @classmethod
    def of(cls, scores: "Scores", channels: Sequence[tuple[str, str | None]]) -> Self:
        """Take the figures of an accumulator.

        Args:
            scores: of C channels.
            channels: names and units, where known, of the C channels.
        """
        return cls(
            nrmse=scores.nrmse,
            rmse_over_std=scores.rmse_over_std,
            nrmse_by_frame=scores.nrmse_by_frame,
            fields={
                name: FieldErrors(unit=unit, **{**vars(channel), "frmse": FrequencyBands(**vars(channel.frmse))})
                for (name, unit), channel in zip(channels, scores.channels, strict=True)
            },
        )

    @property
    def worst(self) -> str | None:
        """The field of the largest error over its standard deviation; None of a single field."""
        if len(self.fields) < 2:
            return None
        return max(self.fields, key=lambda name: _last_if_nan(self.fields[name].rmse_over_std))


class Variant(_Part):
    """One way to predict, from doing nothing to the corrected operator."""

    one_step: Errors
    """Of single steps from every true frame."""
    rollout: Errors
    """Of whole predicted trajectories."""
    evaluations_per_step: int
    """Network evaluations per predicted frame; 0 for persistence."""
    milliseconds_per_step: Number
    """Time of one predicted frame of one batch, in milliseconds."""


class SteadyPriorScores(Errors):
    """The steady prior's errors beside those of taking the input for the answer."""

    persistence: Errors


class EvaluationReport(_Part):
    """All that an evaluation found, in physical units. Variants that were not trained are absent.

    Of a collection of several members it holds the means over them of what has no unit, and each member's own report.
    """

    protocol: EvaluationProtocol
    reconstruction: Errors
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

    def no_better_than_persistence(self) -> dict[str, list[str]]:
        """Of each trained variant the fields whose rollout error is within 2 % of persistence's, or above it."""
        if self.members:
            found: dict[str, list[str]] = {}
            for member, report in self.members.items():
                for name, fields in report.no_better_than_persistence().items():
                    found.setdefault(name, []).extend(f"{field} of {member}" for field in fields)
            return found
        still = self.variants.get(PERSISTENCE)
        if still is None:
            return {}
        # not "at least 0.98 times": an error that is not a number is no better either
        failed = {
            name: [
                field
                for field, errors in variant.rollout.fields.items()
                if not errors.nrmse < LEARNED_BELOW * still.rollout.fields[field].nrmse
                and still.rollout.fields[field].nrmse > 0
            ]
            for name, variant in self.variants.items()
            if name != PERSISTENCE
        }
        return {name: fields for name, fields in failed.items() if fields}

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
            if require_known("evaluation report", value.pop("format", None), FORMAT, where) == 1:
                try:
                    value = _from_format_1(value)
                except (AttributeError, KeyError, TypeError) as problem:
                    raise ValueError(f"it is not of its format: {problem!r}") from problem
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


def _last_if_nan(value: float) -> float:
    return -math.inf if math.isnan(value) else value


_FORMAT_1_FIELDS = "all fields"
"""Under which the figures of format 1 stand that mixed the units of all fields."""


def _from_format_1(report: dict[str, Any]) -> dict[str, Any]:
    """A report that knew no fields: cRMSE, bRMSE and fRMSE were means over all of them."""

    def errors(old: Mapping[str, Any]) -> dict[str, Any]:
        by_frame = old.get("nrmse_by_frame", ())
        figures = {"nrmse": old["nrmse"], "rmse_over_std": None, "nrmse_by_frame": by_frame}
        own = {"unit": None, "rmse": None, **{key: old[key] for key in ("crmse", "brmse", "frmse") if key in old}}
        return figures | {"fields": {_FORMAT_1_FIELDS: {**figures, **own}} if "crmse" in old else {}}

    new = {**report, "reconstruction": errors(report["reconstruction"])}
    new["variants"] = {
        name: {**old, "one_step": errors(old["one_step"]), "rollout": errors(old["rollout"])}
        for name, old in report["variants"].items()
    }
    if prior := report.get("steady_prior"):
        new["steady_prior"] = {**errors(prior), "persistence": errors(prior["persistence"])}
    if members := report.get("members"):
        new["members"] = {name: _from_format_1(member) for name, member in members.items()}
    return new
