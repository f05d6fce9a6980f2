"""The one settings model: frozen, complete, and checked across its sections."""

from collections.abc import Iterator
from typing import Any, Literal, Self, TypeAlias

from pydantic import PositiveInt, model_validator

from ups_engine.config.data import DataSettings, LatentSettings
from ups_engine.config.models import ModelSettings
from ups_engine.config.section import Section
from ups_engine.config.stages import OperatorSettings, StageSettings, StagesSettings
from ups_engine.config.training import LOSS_WEIGHTS, LossKind, TrainingSettings

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


def _merged(below: Any, above: Any) -> Any:
    """A value over another: tables merge key by key, anything else but None takes the place of what is below."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
    return below if above is None else above


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
                shared = {key: training[key] for key in fallback_keys(name) if key in training}
                stages[name] = _merged(shared, stages[name])
        return {**values, "stages": stages}

    @model_validator(mode="after")
    def _inverse_losses_come_into_effect(self) -> Self:
        warmup = self.training.inverse_loss_warmup_epochs
        for name, stage in self._trained():
            if "inverse" in stage.LOSSES and self.training.use_inverse_losses and warmup >= stage.epochs:
                raise ValueError(
                    f"training.inverse_loss_warmup_epochs = {warmup} leaves no epoch of the {name}'s"
                    f" {stage.epochs} to the inverse losses; lower it or turn use_inverse_losses off"
                )
        return self

    @model_validator(mode="after")
    def _every_step_has_a_loss(self) -> Self:
        always = ", ".join(f"training.lambda_{term}" for term, kind in LOSS_WEIGHTS.items() if kind == "always")
        for name, stage in self._trained():
            counting = self._counting(stage)
            terms = [term for term, kind in LOSS_WEIGHTS.items() if kind in counting]
            if stage.LOSSES and not any(getattr(self.training, f"lambda_{term}") for term in terms):
                raise ValueError(
                    f"stages.{name} has steps without any loss; give one of {always} a weight above 0, or leave the"
                    " stage out"
                )
        return self

    def _trained(self) -> Iterator[tuple[StageName, StageSettings]]:
        """The stages that train for some epochs."""
        for name in TRAINED_STAGES:
            stage: StageSettings = getattr(self.stages, name)
            if stage.epochs:
                yield name, stage

    def _counting(self, stage: StageSettings) -> frozenset[LossKind]:
        """The kinds of losses that count at every step of a stage."""
        training = self.training
        curriculum = stage.curriculum if isinstance(stage, OperatorSettings) else ()
        horizons = [step.rollout_horizon for step in curriculum]
        if not curriculum or curriculum[0].from_epoch:
            horizons.append(training.rollout_horizon)
        kinds: set[LossKind] = {"always"}
        if min(horizons) > 1:
            kinds.add("unrolled")
        if (
            training.use_inverse_losses
            and training.inverse_loss_warmup_epochs == 0
            and training.inverse_loss_frequency == 1
            and training.inverse_loss_max_weight
        ):
            kinds.add("inverse")
        return stage.LOSSES & kinds
