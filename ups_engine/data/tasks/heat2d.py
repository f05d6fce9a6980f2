"""The heat equation in two dimensions, u_t = kappa (u_xx + u_yy), periodic on the unit square.

State: one field u, the temperature, (N, T, X, Y). Random smooth blobs fade into their mean, the finer the faster: a
wave of wavenumber k falls as exp(-kappa (2 pi |k|)^2 t). The mean of each trajectory is its own and never changes.

Solved exactly: each frame is the Fourier transform of the first with its coefficients multiplied by that factor, so
there is no error but rounding's, at any time step, on any grid that holds the initial wavenumbers, 3 along each axis.

Good values: kappa = 0.01 to t = 1 in 21 frames takes a third of the longest waves and leaves nothing of the shortest.
Much more, or longer, and the later frames are constant; 32 x 32 points show all there is.
"""

from collections.abc import Iterator

import numpy as np

from ups_engine.data.solvers import cache_blocks, draw_smooth
from ups_engine.data.tasks.base import Advanced, Axis, Field, Parameter, Solver, Task
from ups_engine.discretisation.arrays import Float64, Int64


def solve(
    initial: Float64, times: Float64, kappa: float, advanced: Advanced = lambda trajectories: None
) -> Iterator[tuple[Int64, Float64]]:
    """Solve for many trajectories, (n, X, Y) at times[0] on equal cells of the unit square; see `Solver.solve`."""
    x, y = (np.fft.fftfreq(n, 1 / n) for n in initial.shape[1:])
    rate = kappa * (2 * np.pi) ** 2 * (x[:, None] ** 2 + y[: len(y) // 2 + 1] ** 2)  # (X, Y // 2 + 1)
    for rows in cache_blocks(initial):
        waves = np.fft.rfft2(initial[rows])
        frames = np.empty((len(rows), len(times), *initial.shape[1:]))
        frames[:, 0] = initial[rows]
        for number in range(1, len(times)):
            decay = np.exp(-rate * (times[number] - times[0]))
            frames[:, number] = np.fft.irfft2(waves * decay, initial.shape[1:])
            advanced(len(rows))
        yield rows, frames


TASK = Task(
    name="heat2d",
    title="2D_Heat",
    fields=(Field("u", reflected=(1, 1)),),
    parameters=(Parameter("kappa", 0.01, "diffusivity", positive=True),),
    axes=(Axis(), Axis()),
    conserved=("u",),
    symmetries=("shift", "reflection", "exchange", "offset", "scaling"),
    solver=Solver(lambda numbers, seed, points: draw_smooth(numbers, seed, points, dimensions=2), solve),
)
