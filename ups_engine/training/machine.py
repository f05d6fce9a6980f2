"""The device, and how arithmetic is done on it."""

import torch
from torch import nn

from ups_engine.config.schema import RuntimeSettings
from ups_engine.config.training import TrainingSettings
from ups_engine.errors import SettingsError
from ups_engine.models.backbone import Backbone


def pick_device(settings: RuntimeSettings) -> torch.device:
    """The device of `runtime.device`; `auto` takes a GPU where there is one. Also sets the number of CPU threads.

    Raises:
        SettingsError: a GPU is asked for that is not there, or the name is none.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if settings.device == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(settings.device)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise SettingsError(f"runtime.device = {settings.device!r} is no device", "use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        if device.index >= torch.cuda.device_count():
            raise SettingsError(
                f"runtime.device = {settings.device!r}, but PyTorch sees {torch.cuda.device_count()} GPU(s) here",
                "use auto or cpu, or look at CUDA_VISIBLE_DEVICES",
            )
    return device


def set_precision(settings: TrainingSettings, device: torch.device) -> None:
    """Choose the matrix arithmetic of this process: tf32 is used on GPUs that have it, unless fp32 is asked for."""
    on_gpu = device.type == "cuda"
    torch.set_float32_matmul_precision("highest" if settings.precision == "fp32" or not on_gpu else "high")
    torch.backends.cudnn.allow_tf32 = settings.precision != "fp32"


def prepare_network(network: nn.Module, settings: TrainingSettings, device: torch.device) -> None:
    """Set a network up for training in the chosen precision, compiled where asked for.

    Compilation is in place, so that names in checkpoints do not change.
    """
    for module in network.modules():
        if isinstance(module, Backbone):
            module.half_precision = settings.precision == "bf16" and device.type == "cuda"
            if settings.compile:
                module.compile()


def undo_compilation(network: nn.Module) -> None:
    """Go back to eager execution."""
    for module in network.modules():
        module._compiled_call_impl = None
