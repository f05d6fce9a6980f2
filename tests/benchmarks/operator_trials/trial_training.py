"""A whole training step as one CUDA graph, with and without `torch.compile` inside, and a run of it against the clock.

All parameters are views of one flat vector, as are their gradients, so that clipping, AdamW and the moving average are
a handful of kernels. What changes from step to step (learning rate, samples) lives in tensors that are written outside
the graph, once for every `CHUNK` steps.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import cos, pi
from pathlib import Path

import torch
from torch import Tensor, nn
from trial_data import Sampler, Symmetries, nrmse
from trial_models import Operator, Shape

CHUNK = 20
"""Steps between two looks at the clock; their random numbers are drawn at once."""
_FP16_LOSS_SCALE = 4096.0


@dataclass(frozen=True)
class Recipe:
    """How an operator is trained.

    Args:
        horizons: (share of the time at which it begins, unrolled steps) in order.
        detach: pushforward, no gradient from one unrolled step to the one before.
        first: share of samples that begin in the first `first_frames` frames, beside those that do anyway.
        boosts: greatest Galilean boost, in points a frame.
        optimiser: `adamw`, or `muon` for the matrices that are not spectral and AdamW for the rest.
        compiled: what `torch.compile` sees: `none`, one `block`, one `step` of the operator, the `whole` rollout with
            its loss for each horizon, or `behind`: as `step`, but the run begins uncompiled while another process
            fills the compiler's caches.
        graphs: replay steps from CUDA graphs; else run them eagerly.
    """

    shape: Shape = field(default_factory=Shape)
    batch: int = 256
    lr: float = 2e-3
    horizons: tuple[tuple[float, int], ...] = ((0.0, 1), (0.5, 2), (0.75, 4))
    detach: bool = False
    first: float = 0.15
    first_frames: int = 3
    reflect: bool = True
    shift: bool = False
    boosts: int = 0
    optimiser: str = "adamw"
    weight_decay: float = 1e-5
    clip: float = 1.0
    average: float = 0.999
    warm_up: float = 0.02
    compiled: str = "step"
    graphs: bool = True


def process_age() -> float:
    """Seconds since this process began, the interpreter's start and all imports included."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / 100


class Trainer:
    """A model, its optimiser and its step.

    Args:
        frames: (n, T, X) training trajectories on the device.
    """

    def __init__(self, recipe: Recipe, frames: Tensor) -> None:
        self.recipe, self.device = recipe, frames.device
        torch.set_float32_matmul_precision("highest" if recipe.shape.products == "fp32" else "high")
        symmetries = Symmetries(recipe.reflect, recipe.shift, recipe.boosts)
        self.sampler = Sampler(frames, recipe.batch, symmetries, recipe.first, recipe.first_frames, CHUNK)
        self.model = Operator(recipe.shape, frames.shape[2]).to(self.device)
        self.plain_block = self.model.block
        self.parameters = list(self.model.parameters())
        offsets = [0]
        for p in self.parameters:
            offsets.append(offsets[-1] + (p.numel() + 63) // 64 * 64)  # aligned for vector loads
        self.flat = nn.Parameter(torch.zeros(offsets[-1], device=self.device))
        self.flat.grad = torch.zeros_like(self.flat)
        self.gradients: list[Tensor] = []
        for p, offset in zip(self.parameters, offsets, strict=False):
            view = self.flat.data[offset : offset + p.numel()].view(p.shape)
            view.copy_(p.data)
            p.data = view
            self.gradients.append(self.flat.grad[offset : offset + p.numel()].view(p.shape))
        self.averaged = self.flat.data.clone()
        self.lr = torch.tensor(recipe.lr, device=self.device)
        self.optimiser = torch.optim.AdamW(
            [self.flat], lr=self.lr, fused=True, capturable=frames.is_cuda, weight_decay=recipe.weight_decay
        )
        self.muon = _Muon(self.model.matrices(), self) if recipe.optimiser == "muon" else None
        self.loss = torch.zeros((), device=self.device)
        self.steps: dict[int, Callable[[], None]] = {}
        before = self.flat.data.clone()
        self.optimiser.step()  # creates its state, which graphs then refer to
        self.flat.data.copy_(before)
        self.optimiser.state[self.flat]["step"].zero_()
        self.choose("none" if recipe.compiled == "behind" else recipe.compiled)

    def choose(self, compiled: str) -> None:
        """Compile (lazily) what the recipe names; forgets the graphs of before."""
        self.steps.clear()
        self.pool = torch.cuda.graph_pool_handle() if self.flat.is_cuda else None
        self.model.block = self.plain_block
        detach = self.recipe.detach
        advance: Callable[[Tensor, list[Tensor]], Tensor] = self.model.forward
        if compiled == "block":
            self.model.block = torch.compile(self.plain_block, dynamic=False)
        if compiled == "step":
            advance = torch.compile(advance, dynamic=False)

        def rollout_loss(frames: Tensor, mixes: list[Tensor]) -> Tensor:
            u, total = frames[0], torch.zeros((), device=frames.device)
            for target in frames[1:].unbind(0):
                u = advance(u.detach() if detach else u, mixes)
                total = total + ((u - target).norm(dim=0) / target.norm(dim=0)).mean()
            return total / (len(frames) - 1)

        self.rollout_loss = torch.compile(rollout_loss, dynamic=False) if compiled == "whole" else rollout_loss

    def step(self, horizon: int) -> None:
        """One step; no synchronisation, nothing from the host."""
        half = self.recipe.shape.products == "fp16"
        scale = _FP16_LOSS_SCALE if half else 1.0
        loss = self.rollout_loss(self.sampler.next(horizon), self.model.prepare())
        gradients = torch.autograd.grad(loss * scale, self.parameters)
        with torch.no_grad():
            torch._foreach_copy_(self.gradients, gradients)
            flat = self.flat.grad
            assert flat is not None
            if half:
                torch.nan_to_num(flat, 0.0, 0.0, 0.0, out=flat)
            flat.mul_((self.recipe.clip / (flat.norm() / scale + 1e-6)).clamp(max=1.0) / scale)
            if self.muon is not None:
                self.muon.step()
            self.optimiser.step()
            self.averaged.lerp_(self.flat, 1 - self.recipe.average)
            self.loss.lerp_(loss.detach(), 0.02)

    def prepared(self, horizon: int) -> Callable[[], None]:
        """The step of a horizon, captured at its first use; capturing changes no weights."""
        if horizon not in self.steps:
            self.sampler.refill(horizon)
            if self.recipe.graphs and self.flat.is_cuda:
                self.steps[horizon] = self._captured(horizon)
            else:
                self.steps[horizon] = lambda: self.step(horizon)
        return self.steps[horizon]

    def _captured(self, horizon: int) -> Callable[[], None]:
        saved = [tensor.clone() for tensor in self.state()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step(horizon)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=stream):
            self.step(horizon)
        for tensor, value in zip(self.state(), saved, strict=True):
            tensor.copy_(value)
        torch.cuda.synchronize()
        return graph.replay

    def state(self) -> list[Tensor]:
        """All that a step changes, but for the sampler's counter."""
        optimiser = [t for t in self.optimiser.state[self.flat].values() if isinstance(t, Tensor)]
        return [self.flat.data, self.averaged, self.loss, *optimiser, *(self.muon.momenta if self.muon else [])]


class _Muon:
    """Orthogonalised momentum (Jordan et al. 2024) for stacks of equal matrices, scaled to AdamW's step size."""

    def __init__(self, matrices: list[nn.Parameter], trainer: Trainer) -> None:
        self.trainer = trainer
        number = {id(p): n for n, p in enumerate(trainer.parameters)}
        shapes = sorted({tuple(p.shape) for p in matrices})
        self.stacks = [[number[id(p)] for p in matrices if tuple(p.shape) == shape] for shape in shapes]
        self.momenta = [
            torch.zeros(len(stack), *shape, device=trainer.device)
            for stack, shape in zip(self.stacks, shapes, strict=True)
        ]

    def step(self) -> None:
        """Move the matrices, and zero their gradients so that AdamW leaves them alone (but for its decay)."""
        for stack, momentum in zip(self.stacks, self.momenta, strict=True):
            gradients = [self.trainer.gradients[n] for n in stack]
            gradient = torch.stack(gradients)
            momentum.lerp_(gradient, 0.05)
            x = gradient.lerp(momentum, 0.95)
            tall = x.shape[1] > x.shape[2]
            x = x.mT if tall else x
            x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
            for _ in range(5):
                a = x @ x.mT
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = x.mT if tall else x
            change = x * (-0.2 * max(x.shape[1:]) ** 0.5 * self.trainer.lr)
            torch._foreach_add_([self.trainer.parameters[n].data for n in stack], list(change.unbind(0)))
            torch._foreach_zero_(gradients)


def train(trainer: Trainer, end: float, compiled_elsewhere: Callable[[], bool] = lambda: False) -> dict[str, object]:
    """Train until the process is `end` seconds old.

    Args:
        compiled_elsewhere: for `behind`: whether the compiler's caches are full by now.

    Returns:
        Steps, the seconds that went into compiling and capturing, samples/s of each horizon, and the last loss.
    """
    recipe, began = trainer.recipe, process_age()
    preparing, steps, rates = 0.0, 0, dict[int, list[float]]()
    waiting = recipe.compiled == "behind"
    changed_over: float | None = None
    previous: torch.cuda.Event | None = None
    while (now := process_age()) < end:
        share = (now - began) / (end - began)
        horizon = [h for at, h in recipe.horizons if at <= share][-1]
        if waiting and compiled_elsewhere():
            waiting, changed_over = False, now
            trainer.choose("step")
        fresh = horizon not in trainer.steps
        step = trainer.prepared(horizon)
        if fresh:
            preparing += process_age() - now
            continue
        trainer.sampler.refill(horizon)
        trainer.lr.fill_(recipe.lr * min(share / recipe.warm_up, 0.5 * (1 + cos(pi * share))))
        for _ in range(CHUNK):
            step()
        steps += CHUNK
        if trainer.flat.is_cuda:  # stay at most one chunk ahead of the device
            if previous is not None:
                previous.synchronize()
            previous = torch.cuda.Event()
            previous.record()
        total = rates.setdefault(horizon, [0.0, 0.0])
        total[0] += CHUNK * recipe.batch
        total[1] += process_age() - now
    loss = float(trainer.loss)
    return {
        "steps": steps,
        "preparing_s": round(preparing, 2),
        "changed_over_s": changed_over,
        "samples_per_s": {h: round(samples / seconds) for h, (samples, seconds) in rates.items()},
        "loss": loss,
        "trained_s": round(process_age(), 2),
    }


@torch.no_grad()
def evaluate(trainer: Trainer, test: Tensor, training: Tensor) -> dict[str, object]:
    """PDEBench's nRMSE with the averaged weights: rollouts from frames 0 and 9, one step; details of the first."""
    trainer.flat.data.copy_(trainer.averaged)
    model = trainer.model
    model.block = trainer.plain_block  # another batch would be compiled anew
    mixes = model.prepare()

    def rollout(frames: Tensor, start: int) -> Tensor:
        u, errors = frames[:, start].T.contiguous(), []
        for target in frames[:, start + 1 :].unbind(1):
            u = model(u, mixes)
            errors.append(nrmse(u.T, target))
        return torch.stack(errors, 1)

    from_0 = rollout(test, 0)
    before, after = test[:, :-1].flatten(0, 1), test[:, 1:].flatten(0, 1)
    pairs = zip(torch.split(before, 512), torch.split(after, 512), strict=True)
    one = torch.cat([nrmse(model(b.T.contiguous(), mixes).T, a) for b, a in pairs])
    frame = from_0.mean(0)
    by_trajectory = from_0.mean(1).sort().values
    return {
        "from_0": float(from_0.mean()),
        "from_9": float(rollout(test, 9).mean()),
        "one": float(one.mean()),
        "one_from_frame_0": float(frame[0]),
        "train_from_0": float(rollout(training, 0).mean()),
        "by_frame": {n: float(frame[n - 1]) for n in (1, 2, 3, 5, 10, 20, 40) if n <= len(frame)},
        "median_from_0": float(by_trajectory[len(by_trajectory) // 2]),
        "worst_from_0": float(by_trajectory[-1]),
        "persistence_from_0": float(nrmse(test[:, :1], test[:, 1:]).mean()),
        "persistence_from_9": float(nrmse(test[:, 9:10], test[:, 10:]).mean()),
        "persistence_one": float(nrmse(before, after).mean()),
    }
