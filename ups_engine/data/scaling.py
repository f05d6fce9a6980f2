"""PDE parameters as inputs of a network: standardised by the training trajectories."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ups_engine.discretisation.arrays import Float32, Float64


@dataclass(frozen=True)
class ParameterScaling:
    """How each parameter is scaled: its logarithm where it is positive throughout, then zero mean, unit variance."""

    names: tuple[str, ...]
    log: tuple[bool, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, names: tuple[str, ...], everywhere: Float64, training: Float64) -> "ParameterScaling":
        """Measure on training values.

        Args:
            names: of the P parameters.
            everywhere: (n, P) values of all trajectories; they decide on logarithms.
            training: (m, P) values of the training trajectories; they decide mean and deviation.
        """
        log = np.all(everywhere > 0, axis=0)
        values = _logged(training, log)
        mean, std = values.mean(axis=0), values.std(axis=0)
        std = np.where(std <= 1e-9 * np.maximum(1.0, np.abs(mean)), 0.0, std)  # constant, but for rounding
        return cls(names, *(tuple(column.tolist()) for column in (log, mean, std)))

    def apply(self, values: Float64) -> Float32:
        """(n, P) inputs of physical values (n, P); a parameter that was constant in training gives 0."""
        logged = _logged(values, np.array(self.log, dtype=bool))
        std = np.array(self.std)
        return np.where(std > 0, (logged - np.array(self.mean)) / np.where(std > 0, std, 1.0), 0.0).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """For the run's record; a round trip is exact."""
        return {"names": list(self.names), "log": list(self.log), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ParameterScaling":
        """From the run's record."""
        return cls(*(tuple(stored[key]) for key in ("names", "log", "mean", "std")))


def _logged(values: Float64, log: np.ndarray) -> Float64:
    return np.where(log, np.log10(np.where(log, values, 1.0)), values)
