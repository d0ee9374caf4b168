"""How strong the attention bias is in a window: one formula for every backend."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BiasRule:
    """Where and how a query's strength acts.

    Attributes:
        edges: (camera, lidar) window edge in cells.
        views: 'all' or 'first' of the cameras that see a query.
        sigma: fall-off of a Gaussian window in cells, None for a uniform one.
        limit: the bias lies in +-limit.
    """

    edges: tuple[int, int]
    views: str
    sigma: float | None
    limit: float

    def value(self, strength: Tensor, distance_sq: Tensor) -> Tensor:
        """Bias of a token in the window: strength times `exp(-d^2 / 2 sigma^2)`, clamped; shapes broadcast."""
        if self.sigma is not None:
            strength = strength * torch.exp(distance_sq.to(strength.dtype) * (-0.5 / self.sigma**2))
        return strength.clamp(-self.limit, self.limit)
