"""Encoder and decoder under one roof, as they are trained."""

from torch import Tensor, nn

from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder


class Autoencoder(nn.Module):
    """Encodes fields, and decodes what it encoded.

    Args:
        encoder: of normalised fields.
        decoder: its inverse.
    """

    def __init__(self, encoder: GridEncoder, decoder: GridDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, u: Tensor, *, decode: bool = True) -> tuple[Tensor, Tensor | None]:
        """Normalised fields u (B, *space, C) -> latents z (B, tokens, dim), and D(z) like u where it is wanted."""
        z = self.encoder(u)
        return z, self.decoder(z) if decode else None
