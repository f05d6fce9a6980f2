"""The base of every settings section: frozen, strict about unknown keys, documented by the lines under its fields."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of settings. The string under a field is its documentation wherever the field is shown."""

    ONE_FOR_ALL: ClassVar[bool] = False
    """Whether a value in place of the table stands for each key in it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


@dataclass(frozen=True)
class Since:
    """Marks a setting that came with a later version of the settings: `Annotated[int, Since(3, neutral=0)]`.

    Args:
        version: the first that has it; archives of that version and later hold it.
        neutral: the value with which a run behaves as it did without the setting. A table has none: an earlier run
            takes the built-in values, and of a stage 0 epochs.
    """

    version: int
    neutral: object = None
