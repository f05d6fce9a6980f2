"""Stage `consistency_distill`: the few-step student of the diffusion corrector.

Consistency distillation (Song et al. 2023, algorithm 2): a point of the teacher's trajectory at noise level s_i is
brought to s_(i+1) < s_i by one Heun step of the frozen teacher, and the student's answer at s_i is drawn to the target
network's answer at s_(i+1). The target is a moving average of the student; at sigma_min both are the identity.

The point is y + t s_i n with t uniform in (0, 1) rather than t = 1: corrections start from noise of a temperature
between 0 and 1, and the student must know the trajectories that begin there.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ups_engine.config.stages import ConsistencySettings
from ups_engine.losses.functions import mse
from ups_engine.losses.terms import LossBundle
from ups_engine.models.diffusion import ConsistencyResidual, Context, DiffusionResidual, per_sample
from ups_engine.stages.base import TrainingStage
from ups_engine.stages.context import StageContext
from ups_engine.stages.diff_residual import ResidualTask, no_help, residual_memory
from ups_engine.stages.memory import Probe, weight_bytes
from ups_engine.stages.variant import Variant
from ups_engine.training.task import Batch, Inputs


class ConsistencyTask(ResidualTask):
    """Agreement of neighbouring noise levels."""

    network: ConsistencyResidual
    purposes = ("level", "spread", "noise")

    def __init__(self, context: StageContext) -> None:
        super().__init__(context)
        stages = context.settings.stages
        self._settings = stages.consistency_distill
        self._teacher = context.results.frozen("diffusion_residual_ema", DiffusionResidual)
        self.network = context.results.fresh("consistency", ConsistencyResidual)
        self.network.load_state_dict(self._teacher.state_dict())
        self._target = copy.deepcopy(self.network).requires_grad_(False)
        self.micro_batch = self._settings.distill_micro_batch
        self._baseline = self.one_step_error(None, 0)
        self._teacher_error = self.one_step_error(self._teacher, stages.diff_residual.sampling_steps)

    def prepare(self, batch: Batch) -> Inputs:
        """Latents of pairs, and the noise levels of this share of the stage."""
        inputs = super().prepare(batch)
        levels = self.network.levels(num_taus(self._settings, batch.moment.progress), inputs["z0"].device)
        return replace(inputs, tensors={**inputs.tensors, "levels": levels})

    def loss(self, inputs: Inputs) -> LossBundle:
        """See the module's page."""
        residual, context = self.residual(inputs["z0"], inputs["z1"], inputs["cond"], inputs["dt"])
        y, levels, noise = residual / self.network.unit(context.prediction), inputs["levels"], inputs.noise
        place = (noise.uniform("level", (len(y),)) * (len(levels) - 1)).long()
        high, low = levels[place], levels[place + 1]
        spread = high * noise.uniform("spread", (len(y),))
        x = y + per_sample(spread) * noise.normal("noise", tuple(y.shape))
        with torch.no_grad():
            target = self._target(heun(self._teacher, x, high, low, context), low, context)
        loss = mse(self.network(x, high, context), target)
        return LossBundle(loss, {"L_distill": loss.detach()})

    @torch.no_grad()
    def after_step(self, taken: Tensor) -> None:
        """Let the target network follow the student."""
        ours = [p.data for p in self._target.parameters()]
        change = torch._foreach_sub([p.data for p in self.network.parameters()], ours)
        torch._foreach_mul_(change, (1 - self._settings.target_decay) * taken)
        torch._foreach_add_(ours, change)

    def state(self) -> dict[str, Tensor]:
        """The target network."""
        return dict(self._target.state_dict())

    def ends_early(self, epoch_loss: float) -> str | None:
        """See `Task.ends_early`."""
        wanted = self._settings.target_loss
        return f"target_loss {wanted:g} reached" if wanted is not None and epoch_loss <= wanted else None

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Single-step nRMSE with the student, beside those of the operator alone and with the teacher."""
        assert isinstance(network, ConsistencyResidual)
        error = self.one_step_error(network, self._settings.sampling_steps)
        return {"score": error, "operator_error": self._baseline, "teacher_error": self._teacher_error}

    def verdict(self, metrics: Mapping[str, float]) -> str | None:
        """See `StageTask.verdict`."""
        return no_help("consistency student", metrics)

    def results(self, network: nn.Module, averaged: nn.Module) -> Mapping[str, nn.Module]:
        """The student and its moving average."""
        return {"consistency": network, "consistency_ema": averaged}


def num_taus(settings: ConsistencySettings, progress: float) -> int:
    """Noise levels at a share of the stage."""
    if not settings.tau_schedule:
        return settings.distill_num_taus
    return settings.tau_schedule[int(progress * len(settings.tau_schedule))]


def heun(teacher: DiffusionResidual, x: Tensor, high: Tensor, low: Tensor, context: Context) -> Tensor:
    """One step of the teacher's ODE from noise level high (B,) to low (B,), second order."""
    step = per_sample(low - high)
    first = teacher.slope(x, high, context)
    second = teacher.slope(x + step * first, low, context)
    return x + step * (first + second) / 2


def memory(probe: Probe) -> int:
    """See `TrainingStage.memory`."""
    stage = probe.settings.stages.consistency_distill
    size = min(stage.batch_size, stage.distill_micro_batch or stage.batch_size)
    companions = 2 * weight_bytes(probe.network("consistency"))  # the teacher and the target network
    return residual_memory(probe, "consistency", size) + companions


STAGE = TrainingStage(
    name="consistency_distill",
    needs=("encoder", "decoder", "operator_ema", "diffusion_residual_ema"),
    writes=("consistency", "consistency_ema"),
    make=ConsistencyTask,
    version=2,
    memory=memory,
    variant=Variant(
        name="consistency",
        corrector="consistency_ema",
        steps=lambda settings: settings.stages.consistency_distill.sampling_steps,
    ),
)
