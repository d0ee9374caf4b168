"""The decoder of MEFormer and of MoME's first stage ("MOAD"): one decoder for LiDAR, cameras or both.

What a sample brings decides which expert decodes it, all with the same weights:

| memory | query position | values |
| --- | --- | --- |
| BEV and image tokens | BEV code + ray code, each marked by its type vector | tokens |
| BEV tokens | marked BEV code | tokens |
| image tokens | marked ray code alone, where CMT keeps the BEV code | tokens times a code of their camera |

Source: `MOADTransformer` of github.com/konyul/MoME; keys of config and state dict are upstream's. MoME's second stage
adds a router over these experts and changes none of them: `RouterTransformer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.models.head.transformer import CmtTransformer, init_like_detr
from aqr_core.registry import MODELS


@MODELS.register_module()
class MOADTransformer(CmtTransformer):
    """`CmtTransformer` with type vectors and camera codes.

    Args:
        decoder: its config.
        use_type_embed: add a learned vector to each part of the query position.
        use_cam_embed: scale the values of a camera-only sample by a code of their camera.
    """

    def __init__(
        self,
        decoder: Mapping[str, Any],
        *,
        use_type_embed: bool = True,
        use_cam_embed: bool = False,
    ) -> None:
        super().__init__(decoder)
        width = self.embed_dims
        self.bev_type_embed = nn.Parameter(torch.randn(width)) if use_type_embed else None
        self.rv_type_embed = nn.Parameter(torch.randn(width)) if use_type_embed else None
        self.cam_embed = _camera_code(width) if use_cam_embed else None

    def query_position(self, bev_code: Tensor, ray_code: Tensor | None, *, has_lidar: bool) -> Tensor:
        """Sum of the (B, Q, C) codes of the modalities that are there, each marked."""
        if self.bev_type_embed is not None:
            bev_code = bev_code + self.bev_type_embed
        if ray_code is None:
            return bev_code
        if self.rv_type_embed is not None:
            ray_code = ray_code + self.rv_type_embed
        return bev_code + ray_code if has_lidar else ray_code

    def values(self, memory: Tensor, img2lidar: Tensor | None, *, has_lidar: bool) -> Tensor:
        """(B, T, C) memory, scaled per camera in a camera-only sample; img2lidar is (B, N, 4, 4)."""
        if self.cam_embed is None or has_lidar or img2lidar is None:
            return memory
        matrices = img2lidar.flatten(-2).mT.to(memory.dtype)  # (B, 16, N)
        code = self.cam_embed(matrices).mT.unsqueeze(2)  # (B, N, 1, C)
        return (memory.unflatten(1, (code.shape[1], -1)) * code).flatten(1, 2)


def _camera_code(width: int) -> nn.Sequential:
    """(B, 16, N) entries of the inverse projections -> (B, C, N); the norms run over batch and cameras."""
    layers: list[nn.Module] = []
    for inputs in (16, width, width):
        layers += [nn.Conv1d(inputs, width, kernel_size=1), nn.BatchNorm1d(width)]
    code = nn.Sequential(*layers)
    init_like_detr(code)
    return code
