"""Burgers' equation as PDEBench generates it, solved on the device at hand, and samples of it for training.

u_t + (u^2 / 2)_x = (nu / pi) u_xx on [0, 1], periodic. Initial conditions and scheme are those of
`ups_engine.data.generate`, repeated here in torch so that the benchmark stands alone: finite volumes with the
monotonised-central limiter, Godunov's flux and the midpoint rule, in float64. With as many cells it agrees with that
solver to a per-frame nRMSE of 4e-6 at worst at 512 cells (7e-5 at 256): here all trajectories take the same time steps.
"""

from dataclasses import dataclass
from math import ceil, pi

import numpy as np
import torch
from torch import Tensor

NU = 0.01
FRAMES = 41
T_END = 2.0
DT = T_END / (FRAMES - 1)
_COURANT = 1.5


def initial_conditions(count: int, seed: int, x: np.ndarray) -> np.ndarray:
    """PDEBench's random functions 0 .. count - 1 at positions x: (count, X), the same numbers as UPS draws."""
    values = np.zeros((count, len(x)))
    for row in range(count):
        rng = np.random.default_rng([seed % 2**64, row])
        wavenumbers = np.bincount(rng.integers(4, size=2), minlength=4) * np.arange(1, 5)
        amplitudes, phases = rng.uniform(size=4), rng.uniform(0, 2 * pi, size=4)
        for wavenumber, amplitude, phase in zip(wavenumbers, amplitudes, phases, strict=True):
            values[row] += amplitude * np.sin(2 * pi * wavenumber * x + phase)
        if rng.uniform() < 0.1:
            values[row] = np.abs(values[row])
        values[row] *= 1.0 if rng.uniform() < 0.5 else -1.0
        windowed, opens, closes = rng.uniform() < 0.1, rng.uniform(0.1, 0.45), rng.uniform(0.55, 0.9)
        if windowed:
            values[row] *= 0.5 * (np.tanh((x - opens) / 0.01) - np.tanh((x - closes) / 0.01))
    return values


def _rate_of_change(u: Tensor, viscosity: float) -> Tensor:
    """-(d/dx) flux of cell averages u (X, k)."""
    dx = 1.0 / len(u)
    jump = u - u.roll(1, 0)  # at the left face of each cell
    after = jump.roll(-1, 0)
    low, high = torch.maximum(jump, after).clamp(max=0), torch.minimum(jump, after).clamp(min=0)
    slope = torch.minimum(torch.maximum((jump + after) * 0.25, low), high)  # half slopes
    left, right = (u + slope).roll(1, 0).clamp(min=0), (u - slope).clamp(max=0)
    flux = 0.5 * torch.maximum(left * left, right * right) - jump * (viscosity / dx)
    return (flux - flux.roll(-1, 0)) / dx


def solve(initial: Tensor, nu: float = NU) -> Tensor:
    """Solve for all trajectories at once.

    Args:
        initial: (n, X) cell averages, float64.

    Returns:
        (n, FRAMES, X) float64.
    """
    u = initial.T.contiguous()
    viscosity, dx = nu / pi, 1.0 / len(u)
    span = torch.zeros((), dtype=u.dtype, device=u.device)

    def step() -> None:
        half = u + 0.5 * span * _rate_of_change(u, viscosity)
        u.add_(span * _rate_of_change(half, viscosity))

    advance = step
    if u.is_cuda:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step()  # of length 0
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        advance = graph.replay
    frames = [u.T.clone()]
    for _ in range(FRAMES - 1):
        rate = 2 * float(u.abs().max()) / dx + 4 * viscosity / dx**2
        steps = ceil(DT * rate / _COURANT)
        span.fill_(DT / steps)
        for _ in range(steps):
            advance()
        frames.append(u.T.clone())
    return torch.stack(frames, 1)


def make_data(trajectories: int, cells: int, points: int, seed: int, device: torch.device) -> dict[str, np.ndarray]:
    """Solve on `cells` and keep `points` of them, float32: every n-th cell, as PDEBench does, and means of n cells."""
    initial = initial_conditions(trajectories, seed, (np.arange(cells) + 0.5) / cells)
    frames = solve(torch.from_numpy(initial).to(device))
    every = cells // points
    means = frames.unflatten(2, (points, every)).mean(3)
    return {"sample": frames[:, :, ::every].float().cpu().numpy(), "average": means.float().cpu().numpy()}


@dataclass(frozen=True)
class Symmetries:
    """What a sample is transformed by, all of it exact for Burgers' equation on a periodic grid.

    Args:
        reflect: u(x) -> -u(-x) with probability one half.
        shift: turn the domain by a random number of points.
        boosts: Galilean boosts u(x, t) -> u(x - c t, t) + c with c a multiple, up to this one, of the speed that moves
            by one grid point a frame.
    """

    reflect: bool
    shift: bool
    boosts: int


class Sampler:
    """Draws windows of consecutive frames on the device.

    The random numbers of `steps` steps are drawn at once by `refill`; `next` reads those of one step and moves a
    counter on the device, so that it can be replayed in a CUDA graph.

    Args:
        frames: (n, T, X) on the device.
        first: share of samples that begin in the first `first_frames` frames, beside those that do anyway.
    """

    def __init__(
        self, frames: Tensor, batch: int, symmetries: Symmetries, first: float, first_frames: int, steps: int
    ) -> None:
        self._frames, self._batch, self._symmetries = frames, batch, symmetries
        self._first, self._first_frames, self.steps = first, first_frames, steps
        self._device = frames.device
        self._table = torch.zeros(steps, 5, batch, dtype=torch.int64, device=self._device)
        self._counter = torch.zeros(1, dtype=torch.int64, device=self._device)

    def refill(self, horizon: int) -> None:
        """Draw for the next `steps` steps: row, start, sign, boost, shift of each sample."""
        (trajectories, length, points), size = self._frames.shape, (self.steps, self._batch)
        row, start, sign, boost, shift = self._table.unbind(1)
        row.random_(0, trajectories)
        start.random_(0, length - horizon)
        early = torch.randint(self._first_frames, size, device=self._device)
        torch.where(torch.rand(size, device=self._device) < self._first, early, start, out=start)
        sign.fill_(1)
        if self._symmetries.reflect:
            sign.random_(0, 2).mul_(2).sub_(1)
        boost.random_(-self._symmetries.boosts, self._symmetries.boosts + 1)
        if self._symmetries.shift:
            shift.random_(0, points)
        self._counter.zero_()

    def next(self, horizon: int) -> Tensor:
        """The next samples: (horizon + 1, X, batch)."""
        _, length, points = self._frames.shape
        row, start, sign, boost, shift = self._table.index_select(0, self._counter)[0].unbind(0)
        self._counter.add_(1).remainder_(self.steps)
        frame = torch.arange(horizon + 1, device=self._device)[:, None, None]
        x = torch.arange(points, device=self._device)[:, None]
        place = ((x - (shift + boost * frame)) * sign) % points
        values = torch.take(self._frames, ((row * length + start) + frame) * points + place)
        return values * sign + boost * (1.0 / (points * DT))


def nrmse(predicted: Tensor, target: Tensor) -> Tensor:
    """PDEBench's nRMSE of each field: the last axis is space."""
    error: Tensor = (predicted - target).norm(dim=-1)
    size: Tensor = target.norm(dim=-1)
    return error / size
