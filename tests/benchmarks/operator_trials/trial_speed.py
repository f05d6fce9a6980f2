"""What a device can do, and how much of it a training step gets."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from trial_training import CHUNK, Recipe, Trainer


def _synchronised() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _timed(step: Callable[[], object], seconds: float) -> float:
    """Seconds a call, after a warm-up."""
    for _ in range(3):
        step()
    began, count = _synchronised(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(CHUNK):
            step()
        count += CHUNK
        _synchronised()
    return (time.perf_counter() - began) / count


def _kernels(step: Callable[[], object], steps: int = 4) -> list[str]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
    rows = sorted(profiler.key_averages(), key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows) / steps / 1000
    listed = [f"{r.self_device_time_total / steps / 1000:.4f} ms {r.count / steps:g}x {r.key[:90]}" for r in rows[:18]]
    return [f"{total:.4f} ms {sum(r.count for r in rows) / steps:g}x in all", *listed]


def ceilings(device: torch.device) -> dict[str, object]:
    """Rates of large copies and matrix products, random data."""
    large = torch.randn(2**28 if device.type == "cuda" else 2**20, device=device)
    target = torch.empty_like(large)
    size = 8192 if device.type == "cuda" else 256
    result: dict[str, object] = {"copy_gb_per_s": 8 * large.numel() / _timed(lambda: target.copy_(large), 0.5) / 1e9}
    torch.set_float32_matmul_precision("high")
    for name, dtype in (("tf32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        a, b = torch.randn(2, size, size, device=device).to(dtype).unbind(0)
        rate = 2 * size**3 / _timed(partial(torch.mm, a, b), 0.5)
        result[f"{name}_tflops"] = rate / 1e12
    return result


def speed(
    recipe: Recipe, measure: tuple[tuple[int, int], ...], profile: bool, frames: Tensor
) -> Iterator[dict[str, object]]:
    """Milliseconds a step for each (batch, horizon); the kernels of the first if `profile`."""
    trainer: Trainer | None = None
    for number, (batch, horizon) in enumerate(measure):
        if trainer is None or trainer.recipe.batch != batch:
            trainer = Trainer(replace(recipe, batch=batch), frames)
        began = time.perf_counter()
        step = trainer.prepared(horizon)
        step()
        preparing = _synchronised() - began
        seconds = _timed(step, 0.8)
        rate = trainer.model.flops() * batch * horizon / seconds / 1e12
        row: dict[str, object] = {
            "batch": batch, "horizon": horizon, "ms": seconds * 1000, "samples_per_s": round(batch / seconds),
            "tflops": rate, "preparing_s": round(preparing, 2), "loss": float(trainer.loss),
        }  # fmt: skip
        if profile and number == 0 and frames.is_cuda:
            row["kernels"] = _kernels(step)
        yield row
