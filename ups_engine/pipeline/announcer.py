"""What a run says about itself: the one voice of its events and sentences, and what it has to say."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from ups_engine.data.member import Member
from ups_engine.errors import RunError
from ups_engine.evaluation.report import EvaluationReport
from ups_engine.pipeline.observer import Observer
from ups_engine.runs.events import EventWriter, Kind
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import available_memory, resident_bytes
from ups_engine.telemetry.process import CpuMeter

_CPU = CpuMeter()
_GPU_FIGURES = ("index", "name", "total_bytes", "run_bytes", "utilisation", "temperature", "power")


class Announcer:
    """Writes events and tells the observers.

    Args:
        events: of the run.
        observers: each hears every event, sentence and progress.
    """

    def __init__(self, events: EventWriter, observers: Sequence[Observer]) -> None:
        self.events, self._observers = events, tuple(observers)
        self.stage: str | None = None
        """The stage that warnings and failures belong to."""
        self._cache: Mapping[str, object] | None = None
        self._throughput: float | None = None
        self._activity: Mapping[str, object] | None = None

    def emit(
        self,
        kind: Kind,
        *,
        stage: str | None = None,
        epoch: int | None = None,
        step: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an event; see `ups_engine.runs.events`."""
        data = data or {}
        if kind != "checkpoint":
            self._activity = None
        if kind == "step":
            self._throughput = data.get("throughput")
        elif kind in ("stage_started", "run_paused"):
            self._throughput = None
        self.events.emit(kind, stage=stage, epoch=epoch, step=step, data=data)
        for observer in self._observers:
            observer.event(kind, stage, epoch, step, data)

    def warn(self, message: str) -> None:
        """Write a warning."""
        self.emit("warning", stage=self.stage, data={"message": message})

    def notice(self, sentence: str) -> None:
        """Say what was found, chosen or made."""
        for observer in self._observers:
            observer.notice(sentence)

    def progress(self, what: str, done: int, total: int) -> None:
        """Say how far work outside the step loop is."""
        self._activity = {"what": what, "done": done, "total": total}
        for observer in self._observers:
            observer.progress(what, done, total)

    def last_word(self, kind: Kind, data: Mapping[str, object]) -> None:
        """Write how the run ended, if that is possible still."""
        with suppress(RunError):  # of two errors, such as on a full disk, the first is the one to tell
            self.emit(kind, stage=self.stage, data=data)

    def caches(self, facts: Mapping[str, object]) -> None:
        """Say at once what is known of the latent caches; see heartbeats on the page of `ups_engine.runs.events`."""
        self._cache = facts
        self.emit("heartbeat", data=self.heartbeat())

    def heartbeat(self) -> Mapping[str, object]:
        """The data of a heartbeat now."""
        told = {"cache": self._cache, "activity": self._activity}
        return vital_signs(self._throughput) | {name: value for name, value in told.items() if value is not None}


def device_sentence(device: torch.device) -> str:
    """Where the run computes."""
    if device.type == "cuda":
        return f"computing on {device}, {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    return f"computing on the CPU with {threads} thread{'' if threads == 1 else 's'}"


def data_sentence(member: Member) -> str:
    """What the run learns from a member of its collection."""
    files = [path.name for path in member.info.files]
    more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
    splits = member.splits
    return (
        f"data {files[0]}{more}: {'/'.join(member.field_names)} on {'x'.join(map(str, member.discretisation.shape))}"
        f" points, {member.frames} frames, dt {member.dt:g};"
        f" {len(splits.train)} trajectories train, {len(splits.val)} validate, {len(splits.test)} test"
    )


def vital_signs(throughput: float | None) -> dict[str, object]:
    """The data of a heartbeat, gathered in a few milliseconds.

    Args:
        throughput: samples per second, where they are known.
    """
    memory = available_memory()
    return {
        "ram_bytes": resident_bytes(),
        "ram_available_bytes": memory.available_bytes,
        "ram_total_bytes": memory.total_bytes,
        "ram_limit": memory.limit_source,
        "cpu_percent": round(_CPU.percent(), 1),
        "gpu": [
            {name: getattr(gpu, name) for name in _GPU_FIGURES} | {"used_bytes": gpu.total_bytes - gpu.free_bytes}
            for gpu in gpu_devices()
        ],
        "throughput": throughput,
    }


def evaluation_summary(report: EvaluationReport) -> dict[str, object]:
    """The data of an evaluation event: the report's variants, without the long lists."""
    variants = {name: variant.model_dump(mode="json") for name, variant in report.variants.items()}
    for variant in variants.values():
        del variant["one_step"]["fields"]
        for errors in (variant["one_step"], variant["rollout"], *variant["rollout"]["fields"].values()):
            del errors["nrmse_by_frame"]
    return {"selected": report.selected, "variants": variants}
