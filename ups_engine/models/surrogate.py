"""The trained parts put together: one step in time of a field, through the latent."""

from torch import Tensor, nn

from ups_engine.models.decoder import GridDecoder
from ups_engine.models.diffusion import Context, ResidualModel
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator


class Surrogate(nn.Module):
    """Advances latents in time: z -> P(z + G(z)), or P(P(z + G(z)) + r) with a corrector, where P = E o D.

    A predicted latent need not be the encoding of any field: what the decoder ignores would drift freely over a long
    rollout and feed back into the operator. Encoding the decoded field again removes it at every step, at the price of
    one encoder call. A residual is taken from there too, so that no corrector learns what no field shows.

    Args:
        encoder: of normalised fields.
        decoder: its inverse.
        operator: the latent evolution operator.
        corrector: adds the residual r; None leaves the operator alone.
        steps: network evaluations of a correction.
        temperature: of a correction.
    """

    def __init__(
        self,
        encoder: GridEncoder,
        decoder: GridDecoder,
        operator: LatentOperator,
        corrector: ResidualModel | None = None,
        *,
        steps: int = 0,
        temperature: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.operator, self.corrector = encoder, decoder, operator, corrector
        self.steps, self.temperature = steps, temperature

    @property
    def evaluations_per_step(self) -> int:
        """Evaluations of the operator and of the corrector's network for one step in time."""
        return 1 + self.steps

    def predict(self, z: Tensor, cond: Tensor, dt: Tensor, noise: Tensor | None = None) -> Tensor:
        """One step in the latent, before it is decoded.

        Args:
            z: latents (B, tokens, dim).
            cond: PDE parameters (B, P).
            dt: time step (B,).
            noise: standard normal (n, B, tokens, dim) for the corrector; see `ResidualModel.sample`.

        Returns:
            (B, tokens, dim).
        """
        prediction: Tensor = self.operator(z, cond, dt)
        if self.corrector is None:
            return prediction
        assert noise is not None, "a corrector needs noise"
        prediction = self.encoder(self.decoder(prediction))
        context = Context(z, prediction, cond, dt)
        return prediction + self.corrector.sample(context, noise, self.steps, self.temperature)

    def forward(self, z: Tensor, cond: Tensor, dt: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step in time; arguments as for `predict`.

        Returns:
            The latent to go on from (B, tokens, dim), and the normalised field (B, *space, C).
        """
        field = self.decoder(self.predict(z, cond, dt, noise))
        return self.encoder(field), field
