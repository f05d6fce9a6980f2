"""The stages in the order in which they run: one module for each stage of the settings, found by its name."""

from collections.abc import Mapping
from importlib import import_module

from ups_engine.config.schema import STAGES
from ups_engine.stages.base import Stage, TrainingStage
from ups_engine.stages.variant import Variant


def _declared(name: str) -> Stage:
    stage: Stage = import_module(f"ups_engine.stages.{name}").STAGE
    assert stage.name == name, f"stages/{name}.py declares stage {stage.name}"
    return stage


STAGE_OF: Mapping[str, Stage] = {name: _declared(name) for name in STAGES}
"""Every stage by its name, in order."""

TRAINING_STAGES: Mapping[str, TrainingStage] = {
    name: stage for name, stage in STAGE_OF.items() if isinstance(stage, TrainingStage)
}
"""Those that train."""

VARIANTS: tuple[Variant, ...] = tuple(stage.variant for stage in STAGE_OF.values() if stage.variant is not None)
"""Every way to predict that a stage adds, the simpler ones first."""


def makers(result: str) -> tuple[str, ...]:
    """Stages that leave a result, the one that makes it first."""
    return tuple(name for name, stage in STAGE_OF.items() if result in stage.results)
