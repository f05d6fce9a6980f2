"""The one settings model: frozen, complete, and checked across its sections."""

from typing import Any, Literal, Self, TypeAlias

from pydantic import PositiveInt, model_validator

from ups_engine.config.data import DataSettings, LatentSettings
from ups_engine.config.models import ModelSettings
from ups_engine.config.section import Section
from ups_engine.config.stages import OperatorSettings, StageSettings, StagesSettings
from ups_engine.config.training import TrainingSettings, loss_weights

StageName: TypeAlias = str
STAGES: tuple[StageName, ...] = tuple(StagesSettings.model_fields)
"""Every stage, in the order in which they run."""


def _settings_of(stage: StageName) -> type[Section]:
    model = StagesSettings.model_fields[stage].annotation
    assert isinstance(model, type) and issubclass(model, Section)
    return model


TRAINED_STAGES: tuple[StageName, ...] = tuple(name for name in STAGES if issubclass(_settings_of(name), StageSettings))
"""Those that train."""


def fallback_keys(stage: StageName) -> tuple[str, ...]:
    """Keys of a training stage that `training` holds too and that fall back to it."""
    return tuple(key for key in _settings_of(stage).model_fields if key in TrainingSettings.model_fields)


def _merged(base: Any, override: Any) -> Any:
    if isinstance(base, dict) and isinstance(override, dict):
        return {**base, **{key: _merged(base.get(key), value) for key, value in override.items()}}
    return base if override is None else override


class RunsSettings(Section):
    """Where runs are kept."""

    root: str
    """Folder of all runs."""
    name: str | None = None
    """Name of the run; unset names it after the task and the time."""


class RuntimeSettings(Section):
    """The machine."""

    device: str
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: PositiveInt | None = None
    """CPU threads of the arithmetic; unset leaves the choice to PyTorch."""


class TuiSettings(Section):
    """The terminal interface."""

    theme: Literal["dark", "light", "high-contrast"]
    """Its colours; the variable NO_COLOR takes them all away."""
    ascii: bool | None = None
    """Show nothing but ASCII; unset does so where the locale has no UTF-8."""
    keys: tuple[str, ...]
    """Other keys for actions, such as `pause=space`; the help of the interface (`?`) names actions and keys."""


class Settings(Section):
    """Everything a run depends on."""

    seed: int
    """Decides initial weights, order of data, noise and splits; same seed, same CPU result to the last bit."""
    data: DataSettings
    latent: LatentSettings
    models: ModelSettings
    training: TrainingSettings
    stages: StagesSettings
    runs: RunsSettings
    runtime: RuntimeSettings
    tui: TuiSettings

    @model_validator(mode="before")
    @classmethod
    def _stages_fall_back_to_training(cls, values: Any) -> Any:
        """Fill what a stage leaves unset from `training`, key by key inside tables."""
        if not isinstance(values, dict) or not all(isinstance(values.get(k), dict) for k in ("training", "stages")):
            return values
        training, stages = values["training"], dict(values["stages"])
        for name in TRAINED_STAGES:
            if isinstance(stages.get(name), dict):
                keys = [key for key in fallback_keys(name) if key in training]
                stages[name] = {
                    **stages[name],
                    **{key: _merged(training[key], stages[name].get(key)) for key in keys},
                }
        return {**values, "stages": stages}

    @model_validator(mode="after")
    def _inverse_losses_come_into_effect(self) -> Self:
        operator: OperatorSettings = self.stages.operator
        warmup = self.training.inverse_loss_warmup_epochs
        if self.training.use_inverse_losses and operator.epochs and warmup >= operator.epochs:
            raise ValueError(
                f"training.inverse_loss_warmup_epochs = {warmup} leaves no epoch of the operator's"
                f" {operator.epochs} to the inverse losses; lower it or turn use_inverse_losses off"
            )
        return self

    @model_validator(mode="after")
    def _every_step_has_a_loss(self) -> Self:
        training, operator = self.training, self.stages.operator
        horizons = [step.rollout_horizon for step in operator.curriculum]
        if not operator.curriculum or operator.curriculum[0].from_epoch:
            horizons.append(training.rollout_horizon)
        counting: set[str] = {"always"}
        unrolled = {"unrolled"} if min(horizons) > 1 else set()
        inverse = (
            training.use_inverse_losses
            and training.inverse_loss_warmup_epochs == 0
            and training.inverse_loss_frequency == 1
            and training.inverse_loss_max_weight
        )
        stages = {"operator": counting | unrolled | ({"inverse"} if inverse else set()), "steady_prior": counting}
        weights = loss_weights(TrainingSettings)
        for stage, counted in stages.items():
            anything = any(getattr(training, f"lambda_{name}") for name, w in weights.items() if w.counts in counted)
            if getattr(self.stages, stage).epochs and not anything:
                terms = ", ".join(f"training.lambda_{name}" for name, w in weights.items() if w.counts == "always")
                raise ValueError(
                    f"stages.{stage} has steps without any loss; give one of {terms} a weight above 0, or leave the"
                    " stage out"
                )
        return self
