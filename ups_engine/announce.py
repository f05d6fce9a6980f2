"""What a run says about itself: its device, its data, its vital signs, its evaluation."""

import torch

from ups_engine.data.dataset import FieldDataset
from ups_engine.evaluation.report import EvaluationReport
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import available_memory, process_memory
from ups_engine.telemetry.process import CpuMeter

_CPU = CpuMeter()


def device_sentence(device: torch.device) -> str:
    """Where the run computes."""
    if device.type == "cuda":
        return f"computing on {device}, {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    return f"computing on the CPU with {threads} thread{'' if threads == 1 else 's'}"


def data_sentence(dataset: FieldDataset) -> str:
    """What the run learns from."""
    files = [path.name for path in dataset.source.info.files]
    more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
    splits = dataset.splits
    return (
        f"data {files[0]}{more}: {'/'.join(dataset.fields)} on {'x'.join(map(str, dataset.grid.shape))} points,"
        f" {dataset.frames} frames, dt {dataset.dt:g};"
        f" {len(splits.train)} trajectories train, {len(splits.val)} validate, {len(splits.test)} test"
    )


def vital_signs(throughput: float | None) -> dict[str, object]:
    """The data of a heartbeat, gathered in a few milliseconds.

    Args:
        throughput: samples per second, where they are known.
    """
    memory = available_memory()
    return {
        "ram_bytes": process_memory().resident_bytes,
        "ram_available_bytes": memory.available_bytes,
        "ram_total_bytes": memory.total_bytes,
        "ram_limit": memory.limit_source,
        "cpu_percent": round(_CPU.percent(), 1),
        "gpu": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "used_bytes": gpu.total_bytes - gpu.free_bytes,
                "total_bytes": gpu.total_bytes,
                "run_bytes": gpu.run_bytes,
                "utilisation": gpu.utilisation,
                "temperature": gpu.temperature,
                "power": gpu.power,
            }
            for gpu in gpu_devices()
        ],
        "throughput": throughput,
    }


def evaluation_summary(report: EvaluationReport) -> dict[str, object]:
    """The data of an evaluation event: the report's variants, without the long lists."""
    variants = {name: variant.model_dump(mode="json") for name, variant in report.variants.items()}
    for variant in variants.values():
        del variant["rollout"]["nrmse_by_frame"]
    return {"selected": report.selected, "variants": variants}
