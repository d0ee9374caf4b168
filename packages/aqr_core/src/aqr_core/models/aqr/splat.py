"""How far the weight of a query reaches over a feature map: kernels on the cells around its own cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.windows import window_offsets

GAUSSIAN_REACH = 3.0  # in sigma
DISTANCE_REACH = 3.0  # in cells

METHODS = ("gaussian", "bilinear", "direct", "distance_weighted")


@dataclass(frozen=True)
class SplatKernel:
    """Share g of a query's weight that a cell takes, from the cell's offset to the query's cell.

    With rows dy and columns dx between them and d = sqrt(dx^2 + dy^2), in cells:

    | method | g | where |
    | --- | --- | --- |
    | `gaussian` | exp(-d^2 / 2 sigma^2) | d <= 3 sigma |
    | `bilinear` | (1 - |dx| / radius) (1 - |dy| / radius) | |dx|, |dy| < radius |
    | `direct` | 1 | d = 0 |
    | `distance_weighted` | decay^d | d <= 3 |

    Attributes:
        method: one of `METHODS`.
        sigma: of the Gaussian, in cells.
        radius: half the base of the tent, in cells.
        decay: per cell.
    """

    method: str
    sigma: float
    radius: float
    decay: float

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"render_method is {self.method!r}; allowed are {', '.join(map(repr, METHODS))}.")
        for name, value in (("gaussian_sigma", self.sigma), ("bilinear_radius", self.radius)):
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}; it must be above 0 cells.")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"distance_decay is {self.decay}; it must lie in (0, 1].")

    @property
    def edge(self) -> int:
        """Edge of the smallest window that holds every cell with g > 0."""
        reach = {
            "gaussian": math.floor(GAUSSIAN_REACH * self.sigma),
            "bilinear": math.ceil(self.radius) - 1,
            "direct": 0,
            "distance_weighted": math.floor(DISTANCE_REACH),
        }
        return 2 * reach[self.method] + 1

    def shares(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """(edge * edge,) g of the cells of that window, row by row."""
        offset = window_offsets(self.edge, device).to(dtype)
        distance_sq = offset.square().sum(dim=-1)
        match self.method:
            case "gaussian":
                share = torch.exp(-distance_sq / (2 * self.sigma**2))
                return share * (distance_sq <= (GAUSSIAN_REACH * self.sigma) ** 2)
            case "bilinear":
                return (1 - offset.abs() / self.radius).prod(dim=-1)
            case "distance_weighted":
                return self.decay ** distance_sq.sqrt() * (distance_sq <= DISTANCE_REACH**2)
            case _:
                return torch.ones_like(distance_sq)
