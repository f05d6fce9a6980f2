"""The latent evolution operator and the steady prior: both add a learned change to the latent they start from."""

from torch import Tensor, nn

from ups_engine.config.models import BackboneSettings
from ups_engine.models.backbone import Backbone
from ups_engine.models.tokens import TokenGrid


class LatentOperator(nn.Module):
    """One step in time: z1 = z0 + G(z0, dt, cond), with G zero at the start and free in its scale.

    The steady prior is the same map with the long-time limit for z1, and dt the whole time span.

    Args:
        grid: arrangement of the tokens.
        dim: latent channels.
        parameters: number of PDE parameters.
        reference_dt: time step of the training pairs.
    """

    def __init__(
        self, grid: TokenGrid, dim: int, settings: BackboneSettings, *, parameters: int, reference_dt: float
    ) -> None:
        super().__init__()
        self.backbone = Backbone(grid, dim, dim, settings, parameters=parameters, reference_dt=reference_dt)

    def forward(self, z0: Tensor, cond: Tensor, dt: Tensor) -> Tensor:
        """z0 (B, tokens, dim), cond (B, P), dt (B,) -> z1 (B, tokens, dim)."""
        return z0 + self.backbone(z0, cond, dt)
