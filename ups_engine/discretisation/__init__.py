"""How a field is laid out in space: one contract, with the regular grid as its first member."""

from collections.abc import Mapping

from ups_engine.discretisation.base import Discretisation
from ups_engine.discretisation.grid import RegularGrid
from ups_engine.discretisation.sample import Sample
from ups_engine.errors import DataError

__all__ = ["DISCRETISATIONS", "Discretisation", "discretisation_of"]

DISCRETISATIONS: Mapping[str, type[Discretisation]] = {kind.KIND: kind for kind in (RegularGrid,)}
"""By the kind of their samples."""


def discretisation_of(sample: Sample, spatial_stride: int = 1) -> Discretisation:
    """How a sample is laid out, or what is left of that after striding.

    Args:
        sample: of a source; its values do not matter.
        spatial_stride: every n-th point along each axis is used.

    Raises:
        DataError: a sample of a kind that UPS does not read yet, or not what its kind asks for.
        SettingsError: a stride that does not go with it.
    """
    if sample.kind not in DISCRETISATIONS:
        raise DataError(f"UPS has no discretisation of kind {sample.kind!r}", f"it reads {', '.join(DISCRETISATIONS)}")
    return DISCRETISATIONS[sample.kind].of(sample, spatial_stride)
