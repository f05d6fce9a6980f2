"""What of a run's results is scored, and why the rest is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ups_engine.errors import CheckpointError
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.runs.sidecars import has_result, read_sidecar
from ups_engine.runs.state import summarise
from ups_engine.stages.context import StageContext
from ups_engine.stages.variant import Variant

NEEDED = ("encoder", "decoder", "operator_ema")
"""Results without which nothing is scored."""
NOT_TRAINED = "not trained"
"""Why a variant of a stage that the run has not done is left out."""
_PRIOR = "steady_prior"


@dataclass(frozen=True)
class Scored:
    """What of a run's results is scored.

    Attributes:
        surrogates: by variant.
        prior: the steady prior, where there is one.
        left_out: why, by variant, of those that are not scored.
        hashes: of the results, by name.
    """

    surrogates: Mapping[str, Surrogate]
    prior: LatentOperator | None
    left_out: Mapping[str, str]
    hashes: Mapping[str, str]

    @classmethod
    def of(cls, context: StageContext, variants: Sequence[Variant]) -> Self:
        """Load what can be scored; what cannot is left out with the reason, but for what every variant needs.

        Raises:
            CheckpointError: encoder, decoder or operator does not count.
        """
        results, run = context.results, context.run
        kept = summarise(run).results
        surrogates: dict[str, Surrogate] = {}
        names, left_out = list(NEEDED), {}
        for variant in variants:
            needed = [] if variant.corrector is None else [variant.corrector]
            try:
                surrogates[variant.name] = results.surrogate(variant)
                names += needed
            except CheckpointError as problem:
                if not needed:
                    raise
                untrained = needed[0] not in kept and not has_result(run, needed[0])
                left_out[variant.name] = NOT_TRAINED if untrained else problem.message
        prior = None
        try:
            prior = results.frozen(_PRIOR, LatentOperator)
            names.append(_PRIOR)
        except CheckpointError as problem:
            if _PRIOR in kept or has_result(run, _PRIOR):
                left_out[_PRIOR] = problem.message
        return cls(surrogates, prior, left_out, {name: read_sidecar(run, name)["sha256"] for name in names})
