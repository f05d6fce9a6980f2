"""Viscous Burgers' equation u_t + (u^2 / 2)_x = (nu / pi) u_xx, periodic on [0, 1]: PDEBench's convention of nu.

Second-order finite volumes: linear reconstruction with the monotonised-central limiter (van Leer 1977), Godunov's
exact Riemann flux, central viscous flux, and the midpoint rule in time. It agrees with PDEBench's own data at 1024
points to a per-frame nRMSE of 0.00104 at worst over 201 frames, with Cole-Hopf at nu = 0.1 and 256 points to 1.8e-4,
and at nu = 0.01 and 512 points with a four times finer grid to 0.0013 at worst, 0.0003 on average.

State: one field u, a velocity, (N, T, X). Waves of either sign steepen into shocks as wide as nu allows, which run
into one another and fade; the mean of u never changes. PDEBench gives nu in {0.001, 0.002, 0.004, 0.01, 0.02, 0.04,
0.1, 0.2, 0.4, 1, 2, 4} and 201 frames to t = 2; 512 points resolve nu = 0.01.

The cost grows with nu * points^2: with the default 512 points, nu = 1 takes 60 times as long as nu = 0.01.
"""

from collections.abc import Iterator

import numpy as np

from ups_engine.data.solvers import draw_sinusoids
from ups_engine.data.tasks.base import Axis, Field, Parameter, Solver, Task
from ups_engine.discretisation.arrays import Float64

COURANT = 1.5
"""Bound on dt (2 |u| / dx + 4 nu / (pi dx^2)), the largest decay rate of the two fluxes; the midpoint rule allows 2."""
_GHOSTS = 2


def evolve(initial: Float64, times: Float64, nu: float) -> Iterator[Float64]:
    """States (k, X), each in its own time steps; see `Solver.evolve`."""
    block = _Block(initial, nu / np.pi)
    for span in np.diff(times).tolist():
        block.advance(span)
        yield block.u[_GHOSTS:-_GHOSTS].T


class _Block:
    """States of some trajectories and the work arrays of a step.

    Arrays are (X, k), trajectories last, so that every slice along x is one contiguous piece.
    """

    def __init__(self, initial: Float64, viscosity: float) -> None:
        k, points = initial.shape
        self.viscosity = viscosity
        self.dx = 1.0 / points
        self.u, self.half = (np.empty((points + 2 * _GHOSTS, k)) for _ in range(2))
        self.u[_GHOSTS:-_GHOSTS] = initial.T
        self.jump = np.empty((points + 3, k))
        self.low, self.high, self.slope = (np.empty((points + 2, k)) for _ in range(3))
        self.left, self.right = (np.empty((points + 1, k)) for _ in range(2))
        self.change, self.full_step, self.half_step = (np.empty((points, k)) for _ in range(3))

    def advance(self, span: float) -> None:
        """Advance all trajectories by a time, each in as many equal steps as it needs."""
        speed = np.abs(self.u[_GHOSTS:-_GHOSTS]).max(axis=0)  # (k,) falls with time: the maximum principle
        rate = 2 * speed / self.dx + 4 * self.viscosity / self.dx**2
        steps = np.ceil(span * rate / COURANT).astype(np.int64)  # (k,)
        # the flux is kept at twice its value, so the divided difference is halved here
        np.copyto(self.full_step, span / steps / (2 * self.dx))
        np.multiply(self.full_step, 0.5, out=self.half_step)
        for step in range(int(steps.max())):
            finished = np.flatnonzero(steps == step)
            if finished.size:  # a step of length 0 leaves a state as it is
                self.full_step[:, finished] = self.half_step[:, finished] = 0.0
            self._update(self.u, self.half_step, self.half)
            self._update(self.half, self.full_step, self.u)

    def _update(self, at: Float64, step: Float64, out: Float64) -> None:
        """out = u - step * (flux difference of the state `at`), everything in place."""
        points = len(self.change)
        at[:_GHOSTS] = at[points : points + _GHOSTS]
        at[-_GHOSTS:] = at[_GHOSTS : 2 * _GHOSTS]
        np.subtract(at[1:], at[:-1], out=self.jump)
        self._limit()
        # states left and right of each face, then Godunov's flux max(max(l, 0)^2, min(r, 0)^2) = 2 f
        np.add(at[1:-2], self.slope[:-1], out=self.left)
        np.subtract(at[2:-1], self.slope[1:], out=self.right)
        np.maximum(self.left, 0.0, out=self.left)
        np.minimum(self.right, 0.0, out=self.right)
        np.multiply(self.left, self.left, out=self.left)
        np.multiply(self.right, self.right, out=self.right)
        np.maximum(self.left, self.right, out=self.left)
        np.multiply(self.jump[1:-1], 2 * self.viscosity / self.dx, out=self.right)
        np.subtract(self.left, self.right, out=self.left)
        np.subtract(self.left[1:], self.left[:-1], out=self.change)
        np.multiply(self.change, step, out=self.change)
        np.subtract(self.u[_GHOSTS:-_GHOSTS], self.change, out=out[_GHOSTS:-_GHOSTS])

    def _limit(self) -> None:
        """Half slopes of the monotonised-central limiter: (a + b) / 4 within 0 and the smaller of a and b."""
        a, b = self.jump[:-1], self.jump[1:]
        np.minimum(a, b, out=self.high)
        np.maximum(a, b, out=self.low)
        np.add(a, b, out=self.slope)
        np.multiply(self.slope, 0.25, out=self.slope)
        np.maximum(self.high, 0.0, out=self.high)
        np.minimum(self.low, 0.0, out=self.low)
        np.maximum(self.slope, self.low, out=self.slope)
        np.minimum(self.slope, self.high, out=self.slope)


TASK = Task(
    name="burgers1d",
    title="1D_Burgers",
    fields=(Field("u", reflected=(-1,)),),
    parameters=(Parameter("nu", 0.01, "viscosity, pi times the diffusion coefficient", symbol="Nu", positive=True),),
    axes=(Axis(),),
    conserved=("u",),
    symmetries=("shift", "reflection"),
    solver=Solver(draw_sinusoids, evolve),
)
