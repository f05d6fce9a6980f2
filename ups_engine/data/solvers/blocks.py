"""How a solver's work is cut: blocks of trajectories that fit the processor's cache, alike in their time steps."""

from collections.abc import Iterator

import numpy as np

from ups_engine.discretisation.arrays import Float64, Int64

_BLOCK_VALUES = 32768  # of float64: 256 KiB an array; 64 trajectories of 512 points ran fastest


def cache_blocks(initial: Float64) -> Iterator[Int64]:
    """Row numbers of states (n, *space) block by block, ordered by largest speed, which decides the time step."""
    flat = initial.reshape(len(initial), -1)
    order = np.argsort(np.abs(flat).max(axis=1), kind="stable")
    columns = max(1, _BLOCK_VALUES // flat.shape[1])
    for start in range(0, len(order), columns):
        yield order[start : start + columns]
