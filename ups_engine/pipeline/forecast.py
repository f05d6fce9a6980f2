"""What a run will be and what it will need, from its settings, file headers and the machine: the one forecast.

Whoever looks ahead asks here: the start of a run, the preflight, the check of the caches, the run itself.
"""

from collections.abc import Collection, Sequence
from math import prod

import torch

from ups_engine.config.schema import Settings
from ups_engine.data.splits import SPLITS
from ups_engine.data.survey import MemberSurvey, survey_data
from ups_engine.errors import SettingsError
from ups_engine.latents.layout import Layout
from ups_engine.latents.residency import choose
from ups_engine.stages.base import stage_epochs
from ups_engine.stages.evaluation import require_frames
from ups_engine.stages.memory import FIXED, Probe
from ups_engine.stages.networks import NETWORKS, NetworkPlan, build
from ups_engine.stages.operator import max_horizon
from ups_engine.stages.registry import TRAINING_STAGES
from ups_engine.telemetry.memory import available_memory
from ups_engine.training.machine import pick_device

_FLOAT32 = 4
_COPIES_IN_A_STATE = 6
"""A resumable state holds weights and average, both of now and of the best epoch, and two moments of the optimiser."""
_STATES = 3
"""Two are kept while the next is written."""


class Forecast:
    """A run that is to come.

    Args:
        settings: of the run.
        members: of its collection, as surveyed or as prepared.

    Raises:
        SettingsError: the settings do not go with the data's grid or frames.
    """

    def __init__(self, settings: Settings, members: Sequence[MemberSurvey]) -> None:
        self.settings, self.members = settings, members
        self.plan = NetworkPlan.of(settings, members)
        """What the networks' shapes follow from."""
        for member in members:
            if settings.stages.operator.epochs and max_horizon(settings) >= member.frames:
                raise SettingsError(
                    f"unrolling {max_horizon(settings)} steps takes more than the {member.frames} frames of a"
                    " trajectory",
                    "lower training.rollout_horizon, stages.operator.curriculum or data.time_stride",
                )
            if settings.stages.evaluation.epochs:
                require_frames(member.frames, settings.stages.evaluation.initial_steps)

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The latent caches, of every member and split."""
        tokens, latent = self.plan.grid.count, self.settings.latent
        return tuple(
            Layout(len(member.splits.of(split)), member.frames, tokens, latent.dim, latent.cache_dtype)
            for member in self.members
            for split in SPLITS
        )

    def checkpoint_bytes(self, stages: Collection[str]) -> int:
        """Bytes of the results of training stages and of the resumable states of the largest, while it runs."""
        results, largest = 0, 0
        for name, stage in TRAINING_STAGES.items():
            if name not in stages:
                continue
            numbers = {result: self._numbers(result) for result in stage.results}
            results += sum(numbers.values())
            largest = max(largest, sum(n for result, n in numbers.items() if result in NETWORKS))
        return _FLOAT32 * (results + _STATES * _COPIES_IN_A_STATE * largest)

    def working_bytes(self, device: torch.device) -> int:
        """Bytes of GPU memory that the stages want beside the latents; 0 on the CPU."""
        return working_memory(self.settings, self.plan) if device.type == "cuda" else 0

    def _numbers(self, result: str) -> int:
        with torch.device("meta"):
            return sum(prod(t.shape) for t in build(result, self.settings, self.plan).state_dict().values())


def working_memory(settings: Settings, plan: NetworkPlan) -> int:
    """The most bytes that a stage takes beside the latents, on a GPU; stages with `epochs = 0` do not count."""
    probe = Probe(settings, plan)
    stages = [stage for name, stage in TRAINING_STAGES.items() if stage_epochs(settings, name)]
    return FIXED + max((stage.memory(probe) for stage in stages if stage.memory is not None), default=0)


def cache_bytes(layouts: Collection[Layout]) -> int:
    """Bytes of the caches' chunks on the disk."""
    return sum(layout.samples * layout.chunk_bytes for layout in layouts)


def forecast(settings: Settings) -> tuple[Forecast, tuple[MemberSurvey, ...]]:
    """Find out now what would else end a run after hours of training.

    Raises:
        DataError: data that is missing, unreadable or foreign.
        SettingsError: settings that do not go with the data or the machine.
    """
    device = pick_device(settings.runtime)
    if settings.latent.residency == "gpu" and device.type != "cuda":
        choose(0, available_memory(), None, "gpu")
    surveys = survey_data(settings)
    return Forecast(settings, surveys), surveys
