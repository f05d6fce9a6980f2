"""Encoder and decoder under one roof, as they are trained."""

from torch import Tensor, nn

from ups_engine.models.decoder import GridDecoder
from ups_engine.models.encoder import GridEncoder


class Autoencoder(nn.Module):
    """Encodes fields and decodes them.

    Args:
        encoder: of normalised fields.
        decoder: its inverse.
        cycle: whether what was decoded is encoded once more.
    """

    def __init__(self, encoder: GridEncoder, decoder: GridDecoder, *, cycle: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self._cycle = encoder, decoder, cycle

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Normalised fields (B, *space, C) -> latents z (B, tokens, dim), D(z) like u, and E(D(z)) like z if wanted."""
        z = self.encoder(u)
        decoded = self.decoder(z)
        return z, decoded, self.encoder(decoded) if self._cycle else None
