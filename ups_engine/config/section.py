"""The base of every settings section: frozen, strict about unknown keys, documented by the lines under its fields."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of settings. The string under a field is its documentation wherever the field is shown."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
