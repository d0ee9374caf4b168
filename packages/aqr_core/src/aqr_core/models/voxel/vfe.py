"""Voxel feature encoder: one vector per voxel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aqr_core.models.voxel.voxelize import Voxels
from aqr_core.registry import MODELS


@MODELS.register_module()
class HardSimpleVFE(nn.Module):
    """Mean of the points that a voxel kept; no parameters.

    Args:
        num_features: leading point columns that are averaged.
    """

    def __init__(self, num_features: int = 4) -> None:
        super().__init__()
        self.num_features = num_features

    @torch.no_grad()
    def forward(self, voxels: Voxels) -> Tensor:
        """Voxels -> (V, num_features) float32."""
        points = voxels.points[:, : self.num_features].contiguous()
        if len(voxels) == 0:
            return points
        rows = torch.arange(len(points), device=points.device)
        return nn.functional.embedding_bag(rows, points, voxels.starts, mode="mean")
