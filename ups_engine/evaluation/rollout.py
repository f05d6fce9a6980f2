"""Rolling a surrogate out over many steps, and scoring it against the true trajectories in physical units."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ups_engine.data.member import Member
from ups_engine.discretisation.arrays import Int64
from ups_engine.evaluation.metrics import MetricAccumulator, Scores
from ups_engine.models.surrogate import Surrogate
from ups_engine.training.randomness import keys, normal

Noise = Callable[[int, Tensor, tuple[int, ...]], Tensor]
"""Standard normal noise of a predicted frame: (frame, trajectories (B,), shape) -> (B, *shape) on the device."""
Between = Callable[[], None]
"""Called where long work may be held up or broken off."""


@dataclass(frozen=True)
class Trial:
    """How a surrogate did.

    Attributes:
        one_step: scores of single steps from every true frame.
        rollout: scores of whole predicted trajectories.
        milliseconds_per_step: mean time to predict one frame of one batch of rollouts.
    """

    one_step: Scores
    rollout: Scores
    milliseconds_per_step: float


@dataclass(frozen=True)
class Rollouts:
    """What is rolled out.

    Attributes:
        rows: trajectories of the source.
        initial_steps: frames given; the surrogate starts from the last of them.
        batch_size: trajectories at a time.
    """

    rows: Int64
    initial_steps: int
    batch_size: int


@dataclass(frozen=True)
class TrueBatch:
    """True trajectories: numbers (B,), physical fields (B, T, *space, C), PDE parameters (B, P), time step (B,)."""

    rows: Tensor
    fields: Tensor
    cond: Tensor
    dt: Tensor


def accumulator(member: Member) -> MetricAccumulator:
    """Of scores of a member's fields, in physical units."""
    return MetricAccumulator(member.discretisation, member.normalisation)


def true_batches(member: Member, rollouts: Rollouts, device: torch.device) -> Iterator[TrueBatch]:
    """Read the trajectories that are rolled out, batch by batch."""
    for start in range(0, len(rollouts.rows), rollouts.batch_size):
        rows = rollouts.rows[start : start + rollouts.batch_size]
        fields = torch.from_numpy(member.read(rows)).to(device)
        cond = torch.from_numpy(member.parameters(rows)).to(device)
        numbers = torch.tensor(rows, device=device)
        yield TrueBatch(numbers, fields, cond, torch.full((len(rows),), member.dt, device=device))


@torch.no_grad()
def try_persistence(member: Member, rollouts: Rollouts, device: torch.device) -> Trial:
    """Score the forecast that nothing changes."""
    one_step, rollout = accumulator(member), accumulator(member)
    seconds, frames = 0.0, 0
    for batch in true_batches(member, rollouts, device):
        truth = batch.fields[:, rollouts.initial_steps :]
        began = time.perf_counter()
        still = batch.fields[:, rollouts.initial_steps - 1 : rollouts.initial_steps].expand_as(truth).contiguous()
        seconds, frames = seconds + time.perf_counter() - began, frames + truth.shape[1]
        one_step.update(batch.fields[:, :-1], batch.fields[:, 1:])
        rollout.update(still, truth)
    return Trial(one_step.scores(), rollout.scores(), 1000 * seconds / frames)


@torch.no_grad()
def try_surrogate(
    surrogate: Surrogate,
    member: Member,
    rollouts: Rollouts,
    device: torch.device,
    noise: Noise,
    between: Between = lambda: None,
) -> Trial:
    """Score a surrogate.

    Args:
        surrogate: on the device, in evaluation mode.
        member: of the trajectories.
        rollouts: which of them, and from where.
        device: where to compute.
        noise: of the corrector, if the surrogate has one.
        between: called between frames; may wait, or raise to stop.
    """
    one_step, rollout = accumulator(member), accumulator(member)
    seconds, frames, waited = 0.0, 0, 0.0

    def wait() -> None:
        nonlocal waited
        began = time.perf_counter()
        between()
        waited += time.perf_counter() - began

    for batch in true_batches(member, rollouts, device):
        began, waited = _now(device), 0.0
        predicted = roll_out(surrogate, member, batch, rollouts.initial_steps, noise, wait)
        seconds, frames = seconds + _now(device) - began - waited, frames + predicted.shape[1]
        rollout.update(predicted, batch.fields[:, rollouts.initial_steps :])
        one_step.update(single_steps(surrogate, member, batch, noise, wait), batch.fields[:, 1:])
    return Trial(one_step.scores(), rollout.scores(), 1000 * seconds / frames)


def roll_out(
    surrogate: Surrogate,
    member: Member,
    batch: TrueBatch,
    initial_steps: int,
    noise: Noise,
    between: Between = lambda: None,
) -> Tensor:
    """Predict all frames after the given ones from the last given one: (B, T - initial_steps, *space, C), physical."""
    normalisation = member.normalisation
    z = surrogate.encoder(normalisation.apply(batch.fields[:, initial_steps - 1]))
    predicted = []
    for frame in range(initial_steps, batch.fields.shape[1]):
        between()
        z, field = surrogate(z, batch.cond, batch.dt, _drawn(surrogate, noise, frame, batch.rows))
        predicted.append(normalisation.invert(field))
    return torch.stack(predicted, dim=1)


def single_steps(
    surrogate: Surrogate, member: Member, batch: TrueBatch, noise: Noise, between: Between = lambda: None
) -> Tensor:
    """Predict every frame but the first from the true frame before it: (B, T - 1, *space, C), physical."""
    normalisation = member.normalisation
    predicted = []
    for frame in range(1, batch.fields.shape[1]):
        between()
        z = surrogate.encoder(normalisation.apply(batch.fields[:, frame - 1]))
        prediction = surrogate.predict(z, batch.cond, batch.dt, _drawn(surrogate, noise, frame, batch.rows))
        predicted.append(normalisation.invert(surrogate.decoder(prediction)))
    return torch.stack(predicted, dim=1)


@torch.no_grad()
def reconstruction(surrogate: Surrogate, member: Member, rollouts: Rollouts, device: torch.device) -> Scores:
    """Score D(E(u)) against u over all frames."""
    scores = accumulator(member)
    for batch in true_batches(member, rollouts, device):
        scores.update(reconstruct(surrogate.encoder, surrogate.decoder, member, batch.fields), batch.fields)
    return scores.scores()


def reconstruct(encoder: torch.nn.Module, decoder: torch.nn.Module, member: Member, fields: Tensor) -> Tensor:
    """D(E(u)) of physical fields (B, T, *space, C), physical."""
    flat = member.normalisation.apply(fields.flatten(0, 1))
    return member.normalisation.invert(decoder(encoder(flat))).unflatten(0, fields.shape[:2])


def frame_noise(seed: int, purpose: str, device: torch.device) -> Noise:
    """Noise of predicted frames: a pure function of the seed, the purpose, the frame and the trajectory."""

    def draw(frame: int, trajectories: Tensor, shape: tuple[int, ...]) -> Tensor:
        key = keys(seed, "evaluation", 0, range(frame, frame + 1), purpose)[0]
        return normal(key.to(device), (len(trajectories), *shape), trajectories)

    return draw


def spread(rows: Int64, most: int) -> Int64:
    """At most `most` of the rows, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def _drawn(surrogate: Surrogate, noise: Noise, frame: int, rows: Tensor) -> Tensor | None:
    """Noise (steps, B, tokens, dim) of a corrector; each trajectory's own, whatever it is batched with."""
    if surrogate.corrector is None:
        return None
    encoder = surrogate.encoder
    return noise(frame, rows, (surrogate.steps, encoder.grid.count, encoder.dim)).movedim(1, 0)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
