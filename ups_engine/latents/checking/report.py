"""The report of `ups cache check`: what state the caches are in, what they need, and what training would do."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ups_engine.latents.checking.examine import Examination, examine
from ups_engine.latents.fingerprint import Json
from ups_engine.latents.residency import Residency, choose, gpu_free, gpu_sufficient, ram_sufficient
from ups_engine.latents.target import CacheContext
from ups_engine.reporting import Count
from ups_engine.telemetry.gpu import GpuDevice, gpu_devices
from ups_engine.telemetry.memory import MemoryBudget, available_memory
from ups_engine.telemetry.units import human_bytes

_COMPLETION = "`ups cache build` encodes what is not complete; training does so too before it starts."
_REMEDY = "`ups cache repair` encodes again what is bad or missing, and nothing else."


@dataclass(frozen=True)
class CacheReport:
    """The caches of all splits, the memory for them, and the residency that training would choose.

    Attributes:
        splits: what state each is in.
        memory: what is free on the host.
        gpus: the GPUs, in CUDA's order.
        residency: what training would choose.
        deep: every checksum was verified, and a sample encoded again.
        working_bytes: GPU memory that training wants beside the latents.
    """

    splits: tuple[Examination, ...]
    memory: MemoryBudget
    gpus: tuple[GpuDevice, ...]
    residency: Residency
    deep: bool
    working_bytes: int = 0

    @property
    def ready(self) -> bool:
        """Whether every trajectory of every split is complete."""
        return all(split.complete for split in self.splits)

    @property
    def required(self) -> int:
        """Bytes of all splits in float32, the format of training."""
        return sum(split.target.layout.memory_bytes for split in self.splits)

    def to_json(self) -> dict[str, Json]:
        """What `ups cache check --json` prints."""
        return {
            "splits": [split.to_json() for split in self.splits],
            "ram": {
                "available_bytes": self.memory.available_bytes,
                "limit_source": self.memory.limit_source,
                "sufficient": ram_sufficient(self.required, self.memory),
            },
            "gpu": [
                {
                    "index": gpu.index,
                    "name": gpu.name,
                    "free_bytes": gpu.free_bytes,
                    "total_bytes": gpu.total_bytes,
                    "sufficient": gpu_sufficient(self.required, gpu.free_bytes, self.working_bytes),
                }
                for gpu in self.gpus
            ],
            "residency": {"choice": self.residency.choice, "reason": self.residency.reason},
            "ready": self.ready,
            "verdict": self.verdict(),
        }

    def verdict(self) -> str:
        """A paragraph: ready or not and why, what to do, and where the latents would live."""
        total = sum(len(split.states) for split in self.splits)
        if self.ready:
            depth = "every checksum holds" if self.deep else "sizes and record hold; --deep verifies every checksum"
            sentences = [f"Ready: all {total} trajectories are complete ({depth})."]
            if compared := sum(split.re_encoded for split in self.splits):
                sentences.append(f"{compared} of them were encoded again and came out the same.")
        else:
            bad = [split for split in self.splits if not split.complete]
            sentences = ["Not ready."]
            sentences += [f"{split.target.split}: {'; '.join(split.findings)}." for split in bad]
            sentences.append(_REMEDY if any(split.damaged for split in bad) else _COMPLETION)
        place = {"gpu": "GPU memory", "ram": "RAM", "disk": "files on disk"}[self.residency.choice]
        sentences.append(
            f"Training would read {human_bytes(self.required)} of latents from {place}: {self.residency.reason}."
        )
        return " ".join(sentences)


def check_targets(
    context: CacheContext,
    *,
    deep: bool = False,
    progress: Count | None = None,
    memory: MemoryBudget | None = None,
    gpus: Sequence[GpuDevice] | None = None,
) -> CacheReport:
    """Examine the caches of all splits without changing anything.

    Args:
        context: the caches that are wanted.
        deep: verify every checksum and encode a sample again; without it truncation, deletion and foreign metadata
            are found.
        progress: told (verified, to verify) trajectories of each split in a deep check.
        memory: what is free; None looks it up.
        gpus: the GPUs; None asks NVML.

    Raises:
        SettingsError: residency `gpu` is forced and no GPU trains.
    """
    memory = available_memory() if memory is None else memory
    gpus = gpu_devices() if gpus is None else gpus
    splits = tuple(examine(target, deep=deep, progress=progress) for target in context.targets)
    required = sum(target.layout.memory_bytes for target in context.targets)
    free = gpu_free(torch.device(context.device), gpus)
    residency = choose(required, memory, free, context.residency, context.working_bytes)
    return CacheReport(splits, memory, tuple(gpus), residency, deep, context.working_bytes)
