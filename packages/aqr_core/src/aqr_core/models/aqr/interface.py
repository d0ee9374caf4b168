"""What the head and the AQR variants say to each other.

The head asks a variant at two points: once for the memory features (v1 and v2 act there) and once for a bias of the
cross-attention logits (v3 acts there). A variant that does nothing at a point inherits the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from aqr_core.models.aqr.windows import QueryCells
    from aqr_core.models.head.attention import AttentionBias


@dataclass(frozen=True)
class AqrOutput:
    """What AQR decided for the matching queries.

    Attributes:
        weights: (B, Q, 2) lidar and camera weight.
        scale: () scale of the attention bias; None in variants without one.
    """

    weights: Tensor
    scale: Tensor | None = None

    @torch.no_grad()
    def scalars(self) -> dict[str, float]:
        """Figures for logs: scale, mean, deviation and range of both weights, share preferring each modality."""
        figures = {} if self.scale is None else {"bias_scale": self.scale}
        for name, weight in zip(("lidar", "camera"), self.weights.float().unbind(-1), strict=True):
            figures[f"weight_{name}_mean"] = weight.mean()
            figures[f"weight_{name}_std"] = weight.std(correction=0)
            figures[f"weight_{name}_min"] = weight.min()
            figures[f"weight_{name}_max"] = weight.max()
        lidar, camera = self.weights.unbind(-1)
        figures["prefer_lidar"] = (lidar > camera).float().mean()
        figures["prefer_camera"] = (camera > lidar).float().mean()
        values = torch.stack([value.float() for value in figures.values()]).tolist()
        return dict(zip(figures, values, strict=True))


class AqrVariant(nn.Module):
    """Where query weights act on the fusion; the base acts nowhere."""

    @property
    def scale(self) -> Tensor | None:
        """Scale of the attention bias, where there is one."""
        return None

    def features(self, memory: Tensor, weights: Tensor, cells: QueryCells) -> Tensor:
        """(B, T, C) memory tokens -> the tokens the decoder reads."""
        return memory

    def attention_bias(self, weights: Tensor, cells: QueryCells) -> AttentionBias | None:
        """Bias of the cross-attention logits, None for none."""
        return None
