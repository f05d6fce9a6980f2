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

from ups_engine.data.solvers import draw_smooth
from ups_engine.data.tasks.base import Axis, Field, Parameter, Solver, Task
from ups_engine.discretisation.arrays import Float64


def evolve(initial: Float64, times: Float64, kappa: float) -> Iterator[Float64]:
    """States (k, X, Y) on equal cells of the unit square; see `Solver.evolve`."""
    x, y = (np.fft.fftfreq(n, 1 / n) for n in initial.shape[1:])
    rate = kappa * (2 * np.pi) ** 2 * (x[:, None] ** 2 + y[: len(y) // 2 + 1] ** 2)  # (X, Y // 2 + 1)
    waves = np.fft.rfft2(initial)
    for time in times[1:]:
        decay = np.exp(-rate * (time - times[0]))
        yield np.fft.irfft2(waves * decay, initial.shape[1:])


TASK = Task(
    name="heat2d",
    title="2D_Heat",
    fields=(Field("u", reflected=(1, 1)),),
    parameters=(Parameter("kappa", 0.01, "diffusivity", positive=True),),
    axes=(Axis(), Axis()),
    conserved=("u",),
    symmetries=("shift", "reflection", "exchange", "offset", "scaling"),
    solver=Solver(lambda numbers, seed, points: draw_smooth(numbers, seed, points, dimensions=2), evolve),
)
