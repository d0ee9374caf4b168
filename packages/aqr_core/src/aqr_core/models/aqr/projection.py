"""Where queries fall on the two feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aqr_core.models.head.queries import fraction_to_metres

MIN_DEPTH_M = 1e-3


@dataclass(frozen=True)
class MapShapes:
    """Shapes of the two feature maps; None for an absent modality.

    Attributes:
        bev: (Y, X) rows and columns.
        image: (N, H, W) cameras, rows and columns.
    """

    bev: tuple[int, int] | None
    image: tuple[int, int, int] | None

    @classmethod
    def of(cls, bev: Tensor | None, images: Tensor | None) -> MapShapes:
        """Of (B, C, Y, X) and (B, N, C, H, W) features."""
        return cls(
            bev=None if bev is None else (bev.shape[-2], bev.shape[-1]),
            image=None if images is None else (images.shape[1], images.shape[-2], images.shape[-1]),
        )

    @property
    def num_bev(self) -> int:
        """Number of BEV tokens."""
        return self.bev[0] * self.bev[1] if self.bev else 0

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.num_bev + (self.image[0] * self.image[1] * self.image[2] if self.image else 0)


@dataclass(frozen=True)
class QueryCells:
    """Where queries fall on the feature maps; all tensors are free of gradients.

    Attributes:
        shapes: of the maps.
        bev_cell: (B, Q, 2) row, column; meaningless where not `in_bev`.
        in_bev: (B, Q) bool.
        image_cell: (B, Q, N, 2) row, column; meaningless where not `visible`.
        visible: (B, Q, N) bool.
    """

    shapes: MapShapes
    bev_cell: Tensor
    in_bev: Tensor
    image_cell: Tensor
    visible: Tensor

    def select(self, queries: slice) -> QueryCells:
        """The cells of some queries."""
        parts = (self.bev_cell, self.in_bev, self.image_cell, self.visible)
        return QueryCells(self.shapes, *(part[:, queries] for part in parts))


@torch.no_grad()
def locate_queries(
    reference: Tensor,
    lidar2img: Tensor | None,
    *,
    shapes: MapShapes,
    pad_shape: tuple[int, int],
    pc_range: Sequence[float],
    cell_m: tuple[float, float],
) -> QueryCells:
    """Project reference points onto the BEV map and the image feature maps.

    BEV cells come from metres, not from fractions of the range: upstream's 800x320 map does not fill its range.

    Args:
        reference: (B, Q, 3) in fractions of the range.
        lidar2img: (B, N, 4, 4); None without images.
        shapes: of the maps.
        pad_shape: (height, width) of the padded images in px.
        pc_range: x, y, z minimum and maximum in metres.
        cell_m: (x, y) edge of a BEV cell in metres.
    """
    points = fraction_to_metres(reference.double(), pc_range)
    batch, queries = reference.shape[:2]
    if shapes.bev is None:
        bev_cell = torch.zeros(batch, queries, 2, dtype=torch.long, device=reference.device)
        in_bev = torch.zeros(batch, queries, dtype=torch.bool, device=reference.device)
    else:
        row = torch.floor((points[..., 1] - pc_range[1]) / cell_m[1])
        col = torch.floor((points[..., 0] - pc_range[0]) / cell_m[0])
        in_bev = (row >= 0) & (row < shapes.bev[0]) & (col >= 0) & (col < shapes.bev[1])
        bev_cell = torch.stack([row, col], dim=-1).long()
    if shapes.image is None or lidar2img is None:
        image_cell = torch.zeros(batch, queries, 0, 2, dtype=torch.long, device=reference.device)
        visible = torch.zeros(batch, queries, 0, dtype=torch.bool, device=reference.device)
    else:
        matrix = lidar2img.double()
        projected = points[:, None] @ matrix[..., :3, :3].mT + matrix[..., None, :3, 3]  # (B, N, Q, 3)
        projected = projected.transpose(1, 2)  # (B, Q, N, 3)
        depth = projected[..., 2]
        u, v = (projected[..., :2] / depth.clamp(min=MIN_DEPTH_M).unsqueeze(-1)).unbind(-1)
        visible = (depth > MIN_DEPTH_M) & (u >= 0) & (u < pad_shape[1]) & (v >= 0) & (v < pad_shape[0])
        row = torch.floor(v * (shapes.image[1] / pad_shape[0]))
        col = torch.floor(u * (shapes.image[2] / pad_shape[1]))
        image_cell = torch.where(visible.unsqueeze(-1), torch.stack([row, col], dim=-1), 0.0).long()
    return QueryCells(shapes, bev_cell, in_bev, image_cell, visible)
