"""Settings of the networks."""

from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from ups_engine.config.section import Section

LEAST_CELLS = 4
"""Tokens along each axis, at least."""


class ConvSettings(Section):
    """The encoder's or the decoder's token-level network."""

    hidden: PositiveInt
    """Channels of the residual blocks."""
    depth: Annotated[int, Field(ge=0)]
    """Residual blocks; 0 leaves the linear lapped transform alone."""


class BackboneSettings(Section):
    """A network over latent tokens: attention with relative positions, local convolution, MLP."""

    hidden: PositiveInt
    """Channels of a token inside the network."""
    depth: PositiveInt
    """Blocks."""
    heads: PositiveInt
    """Attention heads; must divide `hidden` into even head widths."""
    mlp_ratio: PositiveInt
    """Width of the MLP over `hidden`."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden = {self.hidden} does not divide into {self.heads} heads of even width;"
                f" the nearest that does is {max(1, round(self.hidden / (2 * self.heads))) * 2 * self.heads}"
            )
        return self


class ModelSettings(Section):
    """The networks of all stages."""

    encoder: ConvSettings
    decoder: ConvSettings
    operator: BackboneSettings
    diffusion: BackboneSettings
    """Of the diffusion residual and of its consistency student, which starts from the teacher's weights."""
    steady_prior: BackboneSettings
